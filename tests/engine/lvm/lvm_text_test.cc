// The syntax of LVM's metadata text, and every way to break it.
#include "engine/lvm/lvm_text.h"

#include <string>

#include <gtest/gtest.h>

namespace latchkey::engine {
namespace {

TEST(LvmText, SectionsNumbersStringsAndLists) {
  const auto root = parse_lvm_text(
      "# a comment { \"\nvg {\n id = \"a\\\"b\\\\c\"  # another\n n=-5 big = 9223372036854775807\n"
      " f = 1.50\n empty = []\n mixed = [ \"x\", 3,\n\"y\", ]\n inner { deep { v = 1 } }\n}\n"
      "version = 1\n");
  ASSERT_TRUE(root.ok()) << root.error().message();
  EXPECT_EQ(root->number("version"), 1U);
  EXPECT_EQ(root->number("vg"), std::nullopt) << "a section is no number";
  const LvmSection* vg = root->section("vg");
  ASSERT_NE(vg, nullptr);
  ASSERT_NE(vg->text("id"), nullptr);
  EXPECT_EQ(*vg->text("id"), "a\"b\\c");
  EXPECT_EQ(vg->number("n"), std::nullopt) << "negative numbers are refused where one is counted";
  EXPECT_EQ(vg->number("big"), 9223372036854775807U);
  EXPECT_EQ(vg->number("f"), std::nullopt);
  ASSERT_NE(vg->list("empty"), nullptr);
  EXPECT_TRUE(vg->list("empty")->empty());
  EXPECT_TRUE(vg->lists("mixed", "y"));
  EXPECT_FALSE(vg->lists("mixed", "z"));
  EXPECT_EQ(vg->list("mixed")->size(), 3U);
  EXPECT_EQ(vg->section("inner")->section("deep")->number("v"), 1U);
  EXPECT_EQ(vg->section("absent"), nullptr);
  EXPECT_EQ(vg->text("n"), nullptr);
}

TEST(LvmText, EndsAtItsFirstNul) {
  const std::string text("a = 1\n\0}}}}", 11);
  const auto root = parse_lvm_text(text);
  ASSERT_TRUE(root.ok()) << root.error().message();
  EXPECT_EQ(root->number("a"), 1U);
}

struct BadText {
  const char* text;
  const char* says;
};

class BadLvmText : public testing::TestWithParam<BadText> {};
INSTANTIATE_TEST_SUITE_P(
    Cases, BadLvmText,
    testing::Values(
        BadText{"a {", "line 1: a section does not end"},
        BadText{"\n}\n", "line 2: a section ends that never began"},
        BadText{"a = \"x", "a string does not end"}, BadText{"a = \"x\\", "a string does not end"},
        BadText{"a = [1, 2", "',' or ']' is expected"}, BadText{"a = [1,", "a list does not end"},
        BadText{"a = [[1]]", "a value is expected"}, BadText{"a = [1 2]", "',' or ']' is expected"},
        BadText{"a =", "does not end"}, BadText{"a = }", "a value is expected"},
        BadText{"a = 9223372036854775808", "a number is too large"},
        BadText{"a = 0x10", "a value is expected"}, BadText{"a", "ends after a name"},
        BadText{"a b", "'=' or '{' is expected"}, BadText{"= 1", "a name is expected"},
        BadText{"a = 1\na = 2", "line 2: 'a' stands there twice"},
        BadText{"a { }\na = 2", "'a' stands there twice"}));

TEST_P(BadLvmText, SaysWhatIsWrongAndWhere) {
  const auto root = parse_lvm_text(GetParam().text);
  ASSERT_FALSE(root.ok());
  EXPECT_EQ(root.error().code(), ErrorCode::kDamaged);
  EXPECT_NE(root.error().message().find(GetParam().says), std::string::npos)
      << root.error().message();
}

TEST(LvmText, NestingIsBounded) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "a {";
  const auto root = parse_lvm_text(text);
  ASSERT_FALSE(root.ok());
  EXPECT_NE(root.error().message().find("nest too deeply"), std::string::npos);
}

TEST(LvmText, TheNumberOfNodesIsBounded) {
  std::string text = "a = [";
  for (std::size_t i = 0; i < kMaxLvmNodes; ++i) text += "1,";
  const auto root = parse_lvm_text(text + "]");
  ASSERT_FALSE(root.ok());
  EXPECT_NE(root.error().message().find("too many entries"), std::string::npos);
}

TEST(LvmText, NamesAndTextsAreBounded) {
  EXPECT_FALSE(parse_lvm_text(std::string(300, 'a') + " = 1").ok());
  EXPECT_FALSE(parse_lvm_text(std::string(kMaxLvmTextBytes + 1, ' ')).ok());
}

}  // namespace
}  // namespace latchkey::engine
