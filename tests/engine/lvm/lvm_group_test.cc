// What a group's text means, and everything it may lie about.
#include <string>

#include <gtest/gtest.h>

#include "engine/lvm/lvm_metadata.h"
#include "tests/engine/lvm/lvm_builder.h"

namespace latchkey::engine {
namespace {

using test::GroupText;
using test::logical_section;
using test::on;
using test::physical_section;
using test::SegmentText;

const std::string kFirst(32, 'a');
const std::string kSecond(32, 'b');

GroupText sound() {
  GroupText group;
  group.physical = {physical_section("pv0", kFirst), physical_section("pv1", kSecond)};
  group.logical = {logical_section(
      "root", {{"0", "4", "striped", on("pv0", 8)}, {"4", "2", "striped", on("pv1", 0)}})};
  return group;
}

std::string error_of(const GroupText& group) {
  const auto parsed = parse_lvm_group(group.text());
  return parsed.ok() ? "it was taken" : parsed.error().message();
}

void expect_error(const GroupText& group, const std::string& says) {
  const std::string error = error_of(group);
  EXPECT_NE(error.find(says), std::string::npos) << error;
}

GroupText with_segments(const std::vector<SegmentText>& segments) {
  GroupText group = sound();
  group.logical = {logical_section("root", segments)};
  return group;
}

TEST(LvmGroup, LinearSegments) {
  const auto group = parse_lvm_group(sound().text());
  ASSERT_TRUE(group.ok()) << group.error().message();
  EXPECT_EQ(group->name, "vg");
  EXPECT_EQ(group->sequence, 7U);
  EXPECT_EQ(group->extent_bytes, 65536U);
  EXPECT_TRUE(group->writable);
  ASSERT_EQ(group->physical.size(), 2U);
  EXPECT_EQ(group->physical[0].start, 1024U * 1024);
  EXPECT_EQ(group->physical[1].uuid, "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb");
  ASSERT_EQ(group->logical.size(), 1U);
  const LvmLogicalVolume& root = group->logical[0];
  EXPECT_TRUE(root.visible);
  EXPECT_TRUE(root.writable);
  EXPECT_EQ(root.why_not, "");
  EXPECT_EQ(root.extents, 6U);
  ASSERT_EQ(root.runs.size(), 2U);
  EXPECT_EQ(root.runs[0].first_extent, 8U);
  EXPECT_EQ(root.runs[1].physical, 1U);
}

TEST(LvmGroup, SegmentsInAnyOrder) {
  const auto group = parse_lvm_group(
      with_segments({{"4", "2", "striped", on("pv1", 0)}, {"0", "4", "striped", on("pv0", 8)}})
          .text());
  ASSERT_TRUE(group.ok()) << group.error().message();
  EXPECT_EQ(group->logical[0].runs[0].extents, 4U);
}

// Kinds that are not linear keep their name; the others in the group stay usable.
TEST(LvmGroup, OtherKindsAreNamed) {
  GroupText group = sound();
  group.logical.push_back(logical_section("thin", {{"0", "1", "thin", "thin_pool = \"pool\""}}));
  group.logical.push_back(logical_section(
      "wide", {{"0", "2", "striped", "stripe_count = 2\nstripes = [\"pv0\", 40, \"pv1\", 40]"}}));
  group.logical.push_back(logical_section("moving", {{"0", "1", "striped", on("pvmove0", 0)}}));
  group.logical.push_back(
      logical_section("mixed", {{"0", "1", "striped", on("pv0", 1)}, {"1", "1", "error", ""}}));
  const auto parsed = parse_lvm_group(group.text());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  std::map<std::string, std::string> why;
  for (const auto& volume : parsed->logical) why[volume.name] = volume.why_not;
  EXPECT_EQ(why["root"], "");
  EXPECT_EQ(why["thin"], "it is of the kind 'thin'");
  EXPECT_EQ(why["wide"], "it is striped over 2 physical volumes");
  EXPECT_EQ(why["moving"], "a part of it lies on 'pvmove0', which is no physical volume");
  EXPECT_EQ(why["mixed"], "it is of the kind 'error'");
}

TEST(LvmGroup, ASnapshotIsNotDataAndItsOriginIsNotWritten) {
  GroupText group = sound();
  group.logical.push_back(logical_section("snap", {{"0", "1", "striped", on("pv0", 20)}}));
  group.logical.push_back(logical_section(
      "snapshot0",
      {{"0", "6", "snapshot", "chunk_size = 8\norigin = \"root\"\ncow_store = \"snap\""}},
      "[\"READ\", \"WRITE\"]"));
  const auto parsed = parse_lvm_group(group.text());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  for (const auto& volume : parsed->logical) {
    if (volume.name == "root") {
      EXPECT_EQ(volume.why_not, "");
      EXPECT_EQ(volume.read_only_reason, "it has a snapshot");
    } else {
      EXPECT_NE(volume.why_not, "") << volume.name;
    }
  }
}

TEST(LvmGroup, AMergingSnapshotCannotBeReadAround) {
  GroupText group = sound();
  group.logical.push_back(logical_section("snap", {{"0", "1", "striped", on("pv0", 20)}}));
  group.logical.push_back(logical_section(
      "snapshot0",
      {{"0", "6", "snapshot", "chunk_size = 8\norigin = \"root\"\nmerging_store = \"snap\""}},
      "[]"));
  const auto parsed = parse_lvm_group(group.text());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  for (const auto& volume : parsed->logical) EXPECT_NE(volume.why_not, "") << volume.name;
}

TEST(LvmGroup, TwoOwnersOfTheSameExtentsAreBothRefused) {
  GroupText group = sound();
  group.logical.push_back(logical_section("other", {{"0", "30", "striped", on("pv0", 11)}}));
  group.logical.push_back(logical_section("third", {{"0", "1", "striped", on("pv0", 40)}}));
  group.logical.push_back(logical_section("fourth", {{"0", "1", "striped", on("pv0", 41)}}));
  const auto parsed = parse_lvm_group(group.text());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  std::map<std::string, std::string> why;
  for (const auto& volume : parsed->logical) why[volume.name] = volume.why_not;
  EXPECT_EQ(why["root"], "the same extents belong to other");
  EXPECT_NE(why["other"], "");
  EXPECT_EQ(why["third"], "the same extents belong to other");
  EXPECT_EQ(why["fourth"], "") << "it begins where the other one ends";
}

TEST(LvmGroup, AVolumeThatUsesItsExtentsTwiceIsRefused) {
  const auto parsed = parse_lvm_group(
      with_segments({{"0", "4", "striped", on("pv0", 8)}, {"4", "4", "striped", on("pv0", 11)}})
          .text());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed->logical[0].why_not, "the same extents belong to root");
}

TEST(LvmGroup, SegmentsThatLie) {
  const std::string most = "9223372036854775807";
  expect_error(with_segments({{"0", "4", "striped", on("pv0", 45)}}), "takes extents 45 to 49");
  expect_error(with_segments({{"0", "4", "striped", on("pv0", -1)}}), "does not say where");
  expect_error(with_segments({{"0", most, "striped", on("pv0", 0)}}), "make no sense");
  expect_error(
      with_segments({{"0", "4", "striped", "stripe_count = 1\nstripes = [\"pv0\", " + most + "]"}}),
      "takes extents");
  expect_error(with_segments({{"0", "0", "striped", on("pv0", 0)}}), "make no sense");
  expect_error(with_segments({{"0", "-4", "striped", on("pv0", 0)}}), "make no sense");
  expect_error(with_segments({{"1", "4", "striped", on("pv0", 0)}}), "leave a gap");
  expect_error(
      with_segments({{"0", "4", "striped", on("pv0", 0)}, {"3", "1", "striped", on("pv0", 9)}}),
      "overlap");
  expect_error(
      with_segments({{"0", "4", "striped", on("pv0", 0)}, {"0", "1", "striped", on("pv0", 9)}}),
      "two segments begin at the same extent");
  expect_error(with_segments({{"0", "1", "striped", "stripe_count = 1\nstripes = [\"pv0\"]"}}),
               "does not say where");
  expect_error(with_segments({{"0", "1", "striped",
                               "stripe_count = 4611686018427387905\nstripes = [\"pv0\", 0]"}}),
               "does not say where");
  expect_error(with_segments({{"0", "1", "striped", "stripe_count = 0\nstripes = []"}}),
               "does not say where");
  expect_error(with_segments({{"0", "1", "striped", "stripe_count = 1\nstripes = [0, \"pv0\"]"}}),
               "does not say where");
  expect_error(with_segments({}), "as many segments as it says");
}

TEST(LvmGroup, GroupsThatLie) {
  const auto changed = [](auto change) {
    GroupText group = sound();
    change(group);
    return group;
  };
  expect_error(changed([](GroupText& g) { g.extent_size = "0"; }), "extent_size makes no sense");
  expect_error(changed([](GroupText& g) { g.extent_size = "-8"; }), "extent_size makes no sense");
  expect_error(changed([](GroupText& g) { g.extent_size = "18014398509481984"; }),
               "extent_size makes no sense");
  expect_error(changed([](GroupText& g) { g.seqno = "-1"; }), "no seqno");
  expect_error(changed([](GroupText& g) { g.uuid = ""; }), "no id");
  expect_error(changed([](GroupText& g) { g.name = "-vg"; }), "name cannot be one");
  expect_error(changed([](GroupText& g) { g.name = ".."; }), "name cannot be one");
  expect_error(changed([](GroupText& g) { g.name = "a/b"; }), "'=' or '{' is expected");
  expect_error(changed([](GroupText& g) { g.name = "a {}\nvg"; }), "describes 2 volume groups");
  expect_error(changed([](GroupText& g) {
                 g.physical[0] = physical_section("pv0", kFirst, "2048", "9223372036854775807");
               }),
               "makes no sense");
  expect_error(changed([](GroupText& g) { g.physical[0] = physical_section("pv0", kFirst, "-1"); }),
               "makes no sense");
  expect_error(changed([](GroupText& g) { g.physical[1] = physical_section("pv1", kFirst); }),
               "another physical volume has its id");
  expect_error(changed([](GroupText& g) {
                 g.logical[0] = logical_section("..", {{"0", "1", "striped", on("pv0", 0)}});
               }),
               "not the name of a logical volume");
  EXPECT_FALSE(parse_lvm_group("contents = \"something else\"\nvg { }\n").ok());
  EXPECT_FALSE(parse_lvm_group("version = 2\nvg { }\n").ok());
  EXPECT_FALSE(parse_lvm_group("").ok());
}

// The text cut anywhere is an error or (where only what follows the group is missing) the same.
TEST(LvmGroup, CutAnywhere) {
  const std::string text = sound().text();
  const std::size_t group_end = text.find("# made by a test");
  for (std::size_t length = 0; length < text.size(); ++length) {
    const bool ok = parse_lvm_group(text.substr(0, length)).ok();
    if (length < group_end - 1) {
      EXPECT_FALSE(ok) << length;
    }
  }
}

}  // namespace
}  // namespace latchkey::engine
