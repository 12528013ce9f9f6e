// What of a name or label reaches a terminal.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/bytes.h"
#include "engine/utf16.h"
#include "tests/support/test_bytes.h"

namespace latchkey {
namespace {

using engine::printable;

TEST(Printable, WhatPeopleWriteStays) {
  for (const char* text : {"", "disk 1", "B\u00fcro", "\u65e5\u672c\u8a9e",
                           "\u0441\u0435\u0439\u0444", "\U0001f512", "e\u0301", "~"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, WhatMovesACursorOrHidesTextDoesNot) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\t\x7f"), "a?[2Jb???");
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(printable("\u009b2J"), "?2J");              // CSI, one character long
  EXPECT_EQ(printable("a\u202egpj.exe"), "a?gpj.exe");  // right to left
  EXPECT_EQ(printable("a\u200bb\u2066c\ufeffd\U000e0041"), "a?b?c?d?");
  for (const char* text : {"\u034f", "\u115f", "\u3164", "\u2800", "\ufffe", "\uffff", "\ufdd0",
                           "\U000110bd", "\U0010ffff"}) {
    EXPECT_EQ(printable(text), "?");
  }
}

TEST(Printable, WhatIsNoUtf8IsCountedByTheByte) {
  const std::pair<std::string, std::string> cases[] = {
      {"caf\xe9", "caf?"},  // Latin-1
      {"\xc3", "?"},        // cut short
      {"\xe2\x82", "??"},
      {"\xf0\x9f\x94", "???"},
      {"\x80\xbf", "??"},            // no beginning
      {"\xc0\xaf\xc1\xbf", "????"},  // longer than need be
      {"\xe0\x80\xaf", "???"},
      {"\xf0\x80\x80\xaf", "????"},
      {"\xed\xa0\x80", "???"},                 // half of a pair
      {"\xf4\x90\x80\x80\xf5\xff", "??????"},  // beyond the last
      {"\xc3\xc3\xbc", "?\u00fc"},             // goes on where it can
  };
  for (const auto& [text, shown] : cases) EXPECT_EQ(printable(text), shown);
}

TEST(Printable, Utf16BecomesUtf8) {
  const auto shown = [](std::u16string_view units, std::endian order) {
    test::ByteVector field(2 * units.size());
    for (std::size_t i = 0; i < units.size(); ++i) {
      const auto unit = static_cast<std::uint16_t>(units[i]);
      if (order == std::endian::big) {
        engine::store_be(engine::MutableBytes(field), 2 * i, unit);
      } else {
        engine::store_le(engine::MutableBytes(field), 2 * i, unit);
      }
    }
    return engine::utf16_text(field, order);
  };
  for (const std::endian order : {std::endian::big, std::endian::little}) {
    EXPECT_EQ(shown(u"B\u00fcro \u65e5\U0001f512~", order), "B\u00fcro \u65e5\U0001f512~");
    EXPECT_EQ(shown(std::u16string(u"cut\0off", 7), order), "cut");
    EXPECT_EQ(shown({u"a\xd83d", 2}, order), "a?");
    EXPECT_EQ(shown({u"\xdd12\xd83d"
                     u"b",
                     3},
                    order),
              "??b");
    EXPECT_EQ(shown(u"\u202e\u001b", order), "??");
  }
  EXPECT_EQ(engine::utf16_text(test::ByteVector(3, std::byte{0x41}), std::endian::little),
            "\u4141");
}

}  // namespace
}  // namespace latchkey
