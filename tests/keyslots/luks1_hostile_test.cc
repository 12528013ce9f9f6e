// Hostile LUKS1 headers: one thing of a valid header changed, and the error that must come of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/luks_builder.h"
#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using test::ByteVector;
using testing::HasSubstr;

constexpr std::size_t kPayload = std::size_t{2} << 20;

test::OpenedVolume probe_luks1(ByteVector header, std::size_t size = kPayload + 4096) {
  header.resize(size);
  return test::probe({test::device_of(std::move(header)), nullptr});
}

ByteVector luks1_with(std::size_t at, std::uint32_t value) {
  ByteVector header = test::luks1_header();
  engine::store_be(engine::MutableBytes(header), at, value);
  return header;
}

TEST(Luks1Hostile, TheHeaderItselfIsValid) {
  const auto volume = probe_luks1(test::luks1_header());
  ASSERT_NE(volume.header, nullptr) << volume.message();
  EXPECT_EQ(volume.header->facts().unusable, "");
  EXPECT_EQ(volume.header->facts().payload_bytes, 4096U);
  EXPECT_TRUE(volume.notices.items().empty());
}

// Version 1.0 of cryptsetup did not align key material: slots at sectors 2, 128, ... and the
// payload at 1010.
TEST(Luks1Hostile, TheOldAlignmentIsValid) {
  ByteVector header = test::luks1_header();
  const auto bytes = engine::MutableBytes(header);
  engine::store_be<std::uint32_t>(bytes, 104, 1010);
  engine::store_be<std::uint32_t>(bytes, 108, 16);
  test::put_text(header, 40, std::string_view("cbc-plain\0\0", 11));
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    engine::store_be<std::uint32_t>(bytes, 208 + 48 * std::size_t{slot} + 40, 2 + 126 * slot);
  }
  const auto volume = probe_luks1(std::move(header));
  ASSERT_NE(volume.header, nullptr) << volume.message();
  EXPECT_EQ(volume.header->facts().unusable, "");
  EXPECT_EQ(volume.header->facts().cipher, "aes-cbc-plain");
  EXPECT_EQ(volume.header->facts().payload_offset, 1010U * 512);
}

TEST(Luks1Hostile, OneNumberChanged) {
  struct Case {
    std::size_t at;
    std::uint32_t value;
    const char* message;
  };
  constexpr std::size_t kSlot2 = 208 + 2 * 48;
  const Case cases[] = {
      {104, 1, "luks1 header: the payload at byte 512 lies inside the header"},
      {104, 4095 - 2048, "luks1 header: keyslot 7 reaches into the payload (byte 1049600 of"},
      {108, 0, "luks1 header: a volume key of 0 bytes"},
      {108, 513, "luks1 header: a volume key of 513 bytes"},
      {108, 0xffffffff, "luks1 header: a volume key of 4294967295 bytes"},
      {108, 64, "luks1 header: keyslots 0 and 1 overlap"},
      {164, 0, "luks1 header: a key digest with 0 iterations"},
      {kSlot2, 0x00ac71f4, "luks1 header: keyslot 2: its state 0xac71f4 is neither"},
      {kSlot2, 0x00ac71f3, "luks1 header: keyslot 2: 0 iterations"},
      {kSlot2 + 40, 0, "luks1 header: keyslot 2: its key material at byte 0 lies inside"},
      {kSlot2 + 40, 1, "luks1 header: keyslot 2: its key material at byte 512 lies inside"},
      {kSlot2 + 40, 270, "luks1 header: keyslots 1 and 2 overlap"},
      {kSlot2 + 40, 0xffffffff, "luks1 header: keyslot 2 reaches into the payload"},
      {kSlot2 + 44, 0, "luks1 header: keyslot 2: 0 anti-forensic stripes"},
      {kSlot2 + 44, 0xffffffff, "luks1 header: keyslot 2: 4294967295 anti-forensic stripes"},
      {kSlot2 + 44, 8000, "luks1 header: keyslots 2 and 3 overlap"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} at {}", c.value, c.at));
    const auto volume = probe_luks1(luks1_with(c.at, c.value));
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kDamaged);
    EXPECT_THAT(volume.message(), HasSubstr(c.message));
  }
}

TEST(Luks1Hostile, NamesThatAreNotKnown) {
  struct Case {
    std::size_t at;
    const char* text;
    const char* unusable;
  };
  const Case cases[] = {{8, "serpent", "cipher 'serpent-xts-plain64' is not supported"},
                        {8, "twofish", "cipher 'twofish-xts-plain64' is not supported"},
                        {40, "xts-random\0", "cipher 'aes-xts-random' is not supported"},
                        {40, "ecb\0\0\0\0\0\0\0\0", "cipher 'aes-ecb' is not supported"}};
  for (const Case& c : cases) {
    ByteVector header = test::luks1_header();
    test::put_text(header, c.at, {c.text, c.at == 8 ? 7U : 11U});
    const auto volume = probe_luks1(std::move(header));
    ASSERT_NE(volume.header, nullptr) << volume.message();
    EXPECT_THAT(volume.header->facts().unusable, HasSubstr(c.unusable));
  }
  ByteVector header = test::luks1_header();
  test::put_text(header, 72, "sha257");
  const auto volume = probe_luks1(std::move(header));
  ASSERT_NE(volume.header, nullptr);
  EXPECT_THAT(volume.header->protectors()[0].unusable, HasSubstr("hash 'sha257'"));
}

TEST(Luks1Hostile, TruncatedImages) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}}) {
    const auto volume = probe_luks1(test::luks1_header(), size);
    EXPECT_EQ(volume.header, nullptr);
    EXPECT_FALSE(volume.error.has_value());
  }
  for (const std::size_t size : {std::size_t{8}, std::size_t{591}}) {
    const auto volume = probe_luks1(test::luks1_header(), size);
    EXPECT_EQ(volume.message(), "luks header: the device ends inside it");
  }
  auto short_one = probe_luks1(test::luks1_header(), 4096);
  ASSERT_NE(short_one.header, nullptr);
  EXPECT_TRUE(test::has_notice(short_one.notices, "only the header is here"));
  const auto opened = test::open_volume(short_one.source, test::ring_of(test::passphrase("x")));
  ASSERT_TRUE(opened.error.has_value());
  EXPECT_EQ(opened.error->code(), ErrorCode::kDamaged);
  EXPECT_THAT(opened.message(), HasSubstr("keyslot 0: the key material at byte 4096"));
}

TEST(Luks1Hostile, OtherVersionsAreNamed) {
  ByteVector header = test::luks1_header();
  header[7] = std::byte{9};
  const auto volume = probe_luks1(std::move(header));
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_EQ(volume.error->code(), ErrorCode::kNotSupported);
  EXPECT_EQ(volume.message(), "luks header: version 9 is not supported");
}

}  // namespace
}  // namespace latchkey
