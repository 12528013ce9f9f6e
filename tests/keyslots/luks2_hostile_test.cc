// Hostile LUKS2 headers: one thing of a valid header changed, and the error that must come of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/luks_builder.h"
#include "tests/keyslots/volume_fixture.h"
#include "tests/support/fault_device.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using test::ByteVector;
using testing::HasSubstr;

std::string luks2_with(const std::string& from, const std::string& to) {
  std::string json = test::luks2_json();
  const std::size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

test::OpenedVolume probe_luks2(const ByteVector& image) {
  return test::probe({test::device_of(image), nullptr});
}

TEST(Luks2Hostile, TheHeaderItselfIsValid) {
  const auto volume = probe_luks2(test::luks2_image());
  ASSERT_NE(volume.header, nullptr) << volume.message();
  EXPECT_EQ(volume.header->facts().unusable, "");
  EXPECT_EQ(volume.header->facts().label, "made by hand");
  EXPECT_EQ(volume.header->protectors().size(), 2U);
  EXPECT_TRUE(volume.notices.items().empty());
}

TEST(Luks2Hostile, OneThingInTheJsonChanged) {
  struct Case {
    const char* from;
    const char* to;
    const char* message;
  };
  const Case cases[] = {
      {"{\"keyslots\"", "[\"keyslots\"", "the json area is broken at byte"},
      {"\"tokens\":{", "\"tokenz\":{", "json tokens is missing"},
      {"\"0\":{\"type\":\"luks2\"", "\"00\":{\"type\":\"luks2\"", "'00' is not an object number"},
      {"\"0\":{\"type\":\"luks2\"", "\"-1\":{\"type\":\"luks2\"", "'-1' is not an object number"},
      {"\"0\":{\"type\":\"luks2\"", "\"32\":{\"type\":\"luks2\"", "keyslot number 32"},
      {"\"key_size\":32,\"af\"", "\"key_size\":0,\"af\"", "keyslot 0: a volume key of 0 bytes"},
      {"\"key_size\":32,\"af\"", "\"key_size\":513,\"af\"", "keyslot 0: a volume key of 513"},
      {"\"key_size\":32,\"af\"", "\"key_size\":-1,\"af\"", "keyslot 0: key_size is not a whole"},
      {"\"key_size\":32,\"af\"", "\"key_size\":1e3,\"af\"", "keyslot 0: key_size is not a whole"},
      {"\"key_size\":32,\"af\"", "\"key_size\":\"32\",\"af\"",
       "keyslot 0: key_size is not a whole"},
      {"\"key_size\":32,\"af\"", "\"key_size\":64,\"af\"", "its area of 131072 bytes cannot hold"},
      {"\"stripes\":4000", "\"stripes\":3999", "keyslot 0: 3999 anti-forensic stripes"},
      {"\"af\":{\"type\":\"luks1\"", "\"af\":{\"type\":\"luks9\"", "anti-forensic type is not"},
      {"\"32768\"", "\"0\"", "keyslot 0: its area at byte 0 with 131072 bytes leaves"},
      {"\"32768\"", "\"2097152\"", "keyslot 0: its area at byte 2097152"},
      {"\"32768\"", "\"163328\"", "keyslots 0 and 1 overlap"},
      {"\"32768\"", "\"18446744073709551616\"", "keyslot 0: area offset does not fit 64 bits"},
      {"\"32768\"", "\"18446744073709551615\"", "is out of bounds"},
      {"\"32768\"", "\" 32768\"", "keyslot 0: area offset is not a decimal number"},
      {"\"32768\"", "\"+32768\"", "keyslot 0: area offset is not a decimal number"},
      {"\"32768\"", "\"\"", "keyslot 0: area offset is not a decimal number"},
      {"\"32768\"", "32768", "keyslot 0: area offset is not a string"},
      {"\"131072\"", "\"1152921504606846976\"", "leaves the keyslots area"},
      {"\"priority\":2", "\"priority\":3", "keyslot 1: a priority of 3"},
      {"\"iterations\":1000,", "\"iterations\":4294967296,", "is not a whole number"},
      {"MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZg=", "salt is not base64"},
      {"\"keyslots\":[\"1\"]", "\"keyslots\":[1]", "holds something that is not a string"},
      {"\"offset\":\"2097152\"", "\"offset\":\"2097153\"", "segment 0: an offset of 2097153 bytes"},
      {"\"dynamic\"", "\"1000\"", "segment 0: a size of 1000 bytes"},
      {"\"dynamic\"", "\"0\"", "segment 0 is empty"},
      {"\"dynamic\"", "\"huge\"", "segment 0: size is not a decimal number"},
      {"\"sector_size\":512", "\"sector_size\":8192", "segment 0: a sector_size of 8192"},
      {"\"sector_size\":512", "\"sector_size\":0", "segment 0: a sector_size of 0"},
      {"\"sector_size\":512", "\"sector_size\":768", "segment 0: a sector_size of 768"},
      {"\"segments\":{\"0\"", "\"segments\":{\"40000\"", "'40000' is not an object number"},
      {"\"keyslots\":[\"0\",\"1\"]", "\"keyslots\":[\"0\",\"7\"]", "digest 0 names keyslot 7"},
      {"\"segments\":[\"0\"]", "\"segments\":[\"1\"]", "digest 0 names segment 1"},
      {"\"json_size\":\"12288\"", "\"json_size\":\"12289\"", "config json_size is 12289"},
      {"\"keyslots_size\":\"2064384\"", "\"keyslots_size\":\"2064385\"", "config keyslots_size"},
      {"\"keyslots_size\":\"2064384\"", "\"keyslots_size\":\"1073741824\"", "config keyslots_size"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} -> {}", c.from, c.to));
    const auto volume = probe_luks2(test::luks2_image(luks2_with(c.from, c.to)));
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kDamaged);
    EXPECT_THAT(volume.message(), HasSubstr(c.message));
  }
}

TEST(Luks2Hostile, SoundButNotSupportedIsSaidBeforeAKeyIsAskedFor) {
  struct Case {
    const char* from;
    const char* to;
    const char* unusable;
  };
  const Case cases[] = {
      {"\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\"",
       "\"iv_tweak\":\"0\",\"encryption\":\"serpent-xts-plain64\"",
       "cipher 'serpent-xts-plain64' is not supported"},
      {"\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\"",
       "\"iv_tweak\":\"0\",\"encryption\":\"capi:authenc(hmac(sha256),xts(aes))-random\"",
       "is not supported"},
      {"\"sector_size\":512}", "\"sector_size\":512,\"integrity\":{\"type\":\"hmac(sha256)\"}}",
       "integrity protection 'hmac(sha256)' is not supported"},
      {"\"segments\":{\"0\":{\"type\":\"crypt\"", "\"segments\":{\"0\":{\"type\":\"hw-opal-crypt\"",
       "segment 0 is of type 'hw-opal-crypt'"},
      {"\"segments\":{\"0\":{\"type\":\"crypt\"", "\"segments\":{\"0\":{\"type\":\"linear\"",
       "segment 0 is of type 'linear'"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"opal\"]}}",
       "the header requires 'opal', which is not supported"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"inline-hw-tags\"]}}",
       "the header requires 'inline-hw-tags'"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"offline-reencrypt\"]}}",
       "an offline re-encryption is under way"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"online-reencrypt\"]}}",
       "its record is of the first version"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"online-reencrypt-v9\"]}}",
       "a version that is not supported"},
      {"\"2064384\"}", "\"2064384\",\"requirements\":{\"mandatory\":[\"online-reencrypt-v2\"]}}",
       "its key slot or its backup segments are missing"},
      {"\"segments\":[\"0\"]", "\"segments\":[]", "segment 0 has no key digest"},
      {"\"digests\":{\"0\":{\"type\":\"pbkdf2\"", "\"digests\":{\"0\":{\"type\":\"blake9\"",
       "key digest 'blake9' is not supported"},
      {"\"offset\":\"2097152\"", "\"offset\":\"0\"", "this is a detached header"},
      {"\"offset\":\"2097152\"", "\"offset\":\"1048576\"", "overlaps the header"},
      {"\"size\":\"dynamic\",\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\","
       "\"sector_size\":512}",
       "\"size\":\"4096\",\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\","
       "\"sector_size\":512},\"1\":{\"type\":\"linear\",\"offset\":\"2101248\",\"size\":"
       "\"dynamic\"}",
       "2 segments without a re-encryption"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} -> {}", c.from, c.to));
    const auto volume =
        test::open_volume({test::device_of(test::luks2_image(luks2_with(c.from, c.to))), nullptr},
                          keyslots::KeyRing());
    ASSERT_NE(volume.header, nullptr) << volume.message();
    EXPECT_THAT(volume.header->facts().unusable, HasSubstr(c.unusable));
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kNotSupported);
  }
}

TEST(Luks2Hostile, SlotsThatCannotBeUsedSayWhy) {
  struct Case {
    const char* from;
    const char* to;
    const char* unusable;
  };
  const Case cases[] = {
      {"\"hash\":\"sha256\"},\"area\"", "\"hash\":\"sha257\"},\"area\"", "hash 'sha257'"},
      {"\"131072\",\"encryption\":\"aes-", "\"131072\",\"encryption\":\"cast-", "cipher 'cast-"},
      {"\"kdf\":{\"type\":\"pbkdf2\"", "\"kdf\":{\"type\":\"scrypt\"", "key derivation 'scrypt'"},
      {"\"keyslots\":[\"0\",\"1\"]", "\"keyslots\":[\"1\"]", "unbound"},
      {"\"0\":{\"type\":\"luks2\"", "\"0\":{\"type\":\"luks7\"", "keyslot type 'luks7'"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} -> {}", c.from, c.to));
    const auto volume = probe_luks2(test::luks2_image(luks2_with(c.from, c.to)));
    ASSERT_NE(volume.header, nullptr) << volume.message();
    EXPECT_EQ(volume.header->facts().unusable, "");
    EXPECT_THAT(volume.header->protectors()[0].unusable, HasSubstr(c.unusable));
    EXPECT_EQ(volume.header->protectors()[1].unusable, "");
  }
}

// A digest of few bytes agrees with many a key, and the wrong one would give noise.
TEST(Luks2Hostile, ADigestTooShortToTellAKeyIsNotAskedForOne) {
  const auto opened = [](const char* digest) {
    const std::string json = luks2_with("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", digest);
    return test::open_volume({test::device_of(test::luks2_image(json)), nullptr},
                             test::ring_of(test::passphrase("any")));
  };
  const auto shorter = opened("MDEyMzQ1Njc4OWFiY2RlZjAxMg==");  // 19 bytes
  ASSERT_TRUE(shorter.error.has_value());
  EXPECT_EQ(shorter.error->code(), ErrorCode::kDamaged);
  EXPECT_THAT(shorter.message(), HasSubstr("a digest of 19 bytes does not tell"));
  const auto enough = opened("MDEyMzQ1Njc4OWFiY2RlZjAxMjM=");
  ASSERT_TRUE(enough.error.has_value());
  EXPECT_EQ(enough.error->code(), ErrorCode::kWrongKey);
}

TEST(Luks2Hostile, AFixedSizeThatTheDeviceDoesNotHold) {
  const auto volume =
      probe_luks2(test::luks2_image(luks2_with("\"dynamic\"", "\"1099511627776\"")));
  ASSERT_NE(volume.header, nullptr) << volume.message();
  EXPECT_EQ(volume.header->facts().unusable, "");
  EXPECT_EQ(volume.header->facts().payload_bytes, 65536U);
  EXPECT_TRUE(test::has_notice(volume.notices, "1099511627776 bytes long, the device holds 65536"));
  const auto whole = probe_luks2(test::luks2_image(luks2_with("\"dynamic\"", "\"4096\"")));
  EXPECT_EQ(whole.header->facts().payload_bytes, 4096U);
  EXPECT_TRUE(whole.notices.items().empty());
}

TEST(Luks2Hostile, DeepAndLongJson) {
  const std::string deep = luks2_with(
      "\"tokens\":{", "\"x\":" + std::string(3000, '[') + std::string(3000, ']') + ",\"tokens\":{");
  EXPECT_THAT(probe_luks2(test::luks2_image(deep)).message(), HasSubstr("nests too deep"));
  // Brackets inside strings, after an escaped quote too, are no nesting.
  const std::string text =
      luks2_with("\"tokens\":{", "\"x\":\"\\\"" + std::string(200, '[') + "\",\"tokens\":{");
  EXPECT_NE(probe_luks2(test::luks2_image(text)).header, nullptr);
  const std::string long_name =
      luks2_with("\"systemd-tpm2\"", "\"" + std::string(5000, 'x') + "\"");
  EXPECT_THAT(probe_luks2(test::luks2_image(long_name)).message(), HasSubstr("is too long"));
}

class Luks2Copies : public testing::Test {
 protected:
  void change(std::size_t at, std::uint64_t value) {
    engine::store_be(engine::MutableBytes(image_), at, value);
  }
  void expect_opens_with(const char* notice) {
    const auto volume = probe_luks2(image_);
    ASSERT_NE(volume.header, nullptr) << volume.message();
    EXPECT_TRUE(test::has_notice(volume.notices, notice));
  }
  void expect_damaged(const char* message) {
    const auto volume = probe_luks2(image_);
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kDamaged);
    EXPECT_THAT(volume.message(), HasSubstr(message));
    EXPECT_FALSE(volume.error->hint().empty());
  }
  static constexpr std::size_t kSecond = test::kLuks2CopyBytes;
  ByteVector image_ = test::luks2_image();
};

TEST_F(Luks2Copies, AFlippedBitInEitherIsGotAround) {
  for (const std::size_t at : {std::size_t{30}, std::size_t{450}, std::size_t{5000}}) {
    image_ = test::luks2_image();
    image_[at] ^= std::byte{1};
    expect_opens_with("the first copy at byte 0 cannot be used (its checksum is wrong)");
    image_ = test::luks2_image();
    image_[kSecond + at] ^= std::byte{1};
    expect_opens_with("the second copy at byte 16384 cannot be used (its checksum is wrong)");
  }
}

TEST_F(Luks2Copies, BothFlippedIsDamage) {
  image_[5000] ^= std::byte{1};
  image_[kSecond + 5000] ^= std::byte{1};
  expect_damaged("luks2 header: its checksum is wrong");
}

TEST_F(Luks2Copies, TheNewerWins) {
  const std::string newer = luks2_with("\"sector_size\":512", "\"sector_size\":1024");
  std::fill_n(image_.begin() + kSecond, kSecond, std::byte{0});
  test::put_luks2_copy(image_, kSecond, newer, 4);
  expect_opens_with("the two copies differ in age (sequence 3 and 4)");
  EXPECT_EQ(probe_luks2(image_).header->facts().sector_bytes, 1024U);
  test::put_luks2_copy(image_, 0, test::luks2_json(), 5);
  EXPECT_EQ(probe_luks2(image_).header->facts().sector_bytes, 512U);
}

TEST_F(Luks2Copies, BadJsonUnderAGoodChecksumIsGotAround) {
  test::put_luks2_copy(image_, 0, luks2_with("\"stripes\":4000", "\"stripes\":4001"), 9);
  expect_opens_with("cannot be used (keyslot 0: 4001 anti-forensic stripes)");
}

TEST_F(Luks2Copies, NoFirstCopyAtAll) {
  std::fill_n(image_.begin(), kSecond, std::byte{0});
  expect_opens_with("the first copy at byte 0 cannot be used (it is missing)");
}

TEST_F(Luks2Copies, NoFirstCopyButSomethingElseInItsPlace) {
  std::fill_n(image_.begin(), kSecond, std::byte{0});
  test::put_text(image_, 510, "\x55\xaa");
  const auto volume = probe_luks2(image_);
  EXPECT_EQ(volume.header, nullptr);
  EXPECT_FALSE(volume.error.has_value());
  EXPECT_TRUE(test::has_notice(volume.notices, "the second, at byte 16384, is whole"));
}

TEST_F(Luks2Copies, AFirstSectorThatCannotBeReadIsGotAround) {
  const auto device = std::make_shared<test::FaultDevice>(test::device_of(image_));
  device->bad_read_byte = 100;
  const auto volume = test::probe({device, nullptr});
  ASSERT_NE(volume.header, nullptr) << volume.message();
  EXPECT_TRUE(test::has_notice(volume.notices, "the first copy at byte 0 cannot be used"));
}

TEST_F(Luks2Copies, NoSecondCopyAtAll) {
  std::fill_n(image_.begin() + kSecond, kSecond, std::byte{0});
  expect_opens_with("the second copy at byte 16384 cannot be used (it is missing)");
}

TEST_F(Luks2Copies, SizesAndPlacesThatAreNotTheFormats) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{16385},
                                   std::uint64_t{0x800000}, ~std::uint64_t{0}}) {
    image_ = test::luks2_image();
    change(8, size);
    change(kSecond + 8, size);
    expect_damaged("is none the format has");
  }
  image_ = test::luks2_image();
  for (const std::size_t at : {std::size_t{0}, kSecond}) {
    change(at + 256, 512);
    test::seal_luks2_copy(image_, at);
  }
  expect_damaged("it says it stands at byte 512");
}

TEST_F(Luks2Copies, AnUnknownChecksumIsNamed) {
  test::put_text(image_, 72, "crc32\0");
  test::put_text(image_, kSecond + 72, "crc32\0");
  const auto volume = probe_luks2(image_);
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_THAT(volume.message(), HasSubstr("hash 'crc32"));
}

TEST(Luks2Truncated, EveryLengthIsAnsweredNotRead) {
  const ByteVector whole = test::luks2_image();
  for (const unsigned size :
       {0U, 1U, 4095U, 4096U, 16383U, 16384U, 20479U, 32767U, 32768U, 40000U}) {
    SCOPED_TRACE(size);
    const ByteVector part(whole.begin(), whole.begin() + size);
    const auto volume = probe_luks2(part);
    if (size < 8) {
      EXPECT_EQ(volume.header, nullptr);
      EXPECT_FALSE(volume.error.has_value());
    } else if (size < 16384) {
      ASSERT_TRUE(volume.error.has_value());
      EXPECT_EQ(volume.error->code(), ErrorCode::kDamaged);
    } else {
      EXPECT_NE(volume.header, nullptr) << volume.message();
    }
  }
}

}  // namespace
}  // namespace latchkey
