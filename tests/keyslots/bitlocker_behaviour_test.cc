// What a sound BitLocker volume does: every cipher, sector size, front, protector and state, on
// volumes that an independent builder made; writes are compared with the volume that the builder
// would have made.
#include <algorithm>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/bitlocker_volumes.h"

using namespace latchkey;
using namespace latchkey::test;
using ::testing::HasSubstr;
using Kind = FveProtector::Kind;

namespace {

constexpr std::array kMethods = {FveMethod::kXts128,      FveMethod::kXts256,
                                 FveMethod::kCbc128,      FveMethod::kCbc256,
                                 FveMethod::kElephant128, FveMethod::kElephant256};

struct Hidden {
  std::uint64_t offset;
  std::uint64_t length;
};

std::vector<Hidden> hidden_of(const FveVolume& volume) {
  std::vector<Hidden> areas;
  for (const std::uint64_t copy : volume.metadata) areas.push_back({copy, kFveMetadataBytes});
  areas.push_back({volume.relocated, volume.relocated_bytes});
  return areas;
}

bool touches(const std::vector<Hidden>& areas, std::uint64_t offset, std::uint64_t length) {
  return std::any_of(areas.begin(), areas.end(), [&](const Hidden& area) {
    return offset < area.offset + area.length && area.offset < offset + length;
  });
}

std::string message_of(const OpenedVolume& volume) {
  return volume.error ? volume.error->message() + " | " + volume.error->hint() : "it opens";
}

void expect_reads(const FveVolume& volume, const OpenedVolume& opened) {
  ASSERT_TRUE(opened.plain) << message_of(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
}

class EveryCipherTest : public ::testing::TestWithParam<std::tuple<FveMethod, std::uint32_t>> {
 protected:
  static FveSpec spec() {
    FveSpec spec = plain_spec();
    spec.method = std::get<0>(GetParam());
    spec.sector_bytes = std::get<1>(GetParam());
    return spec;
  }
};

INSTANTIATE_TEST_SUITE_P(All, EveryCipherTest,
                         ::testing::Combine(::testing::ValuesIn(kMethods),
                                            ::testing::Values(512U, 4096U)));

TEST_P(EveryCipherTest, Reads) {
  const FveVolume volume = make_bitlocker(spec(), ntfs_like(3 * kMebibyte, 21));
  const OpenedVolume opened = open_fve(volume);
  expect_reads(volume, opened);
  EXPECT_EQ(notices_of(opened), "");
  EXPECT_EQ(opened.header->facts().sector_bytes, spec().sector_bytes);
}

// Whatever is written, the image is byte for byte the one the builder makes of the new plaintext.
TEST_P(EveryCipherTest, Writes) {
  const std::uint64_t seed = test_seed();
  std::mt19937_64 random(seed);
  const FveVolume volume = make_bitlocker(spec(), ntfs_like(3 * kMebibyte, 22));
  const OpenedVolume opened = open_fve(volume, true);
  ASSERT_TRUE(opened.plain) << message_of(opened);
  ASSERT_TRUE(opened.plain->writable()) << opened.read_only_reason;
  const auto areas = hidden_of(volume);
  ByteVector expected = volume.plain;
  const auto write = [&](std::uint64_t offset, std::uint64_t length) {
    if (offset + length > expected.size() || touches(areas, offset, length)) return;
    const ByteVector bytes = random_bytes(length, random());
    ASSERT_TRUE(opened.plain->write(offset, bytes).ok()) << offset << " " << length;
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  write(0, 9000);  // over the end of the relocated sectors
  write(volume.relocated_bytes - 3, 6);
  for (const Hidden& area : areas) {
    write(area.offset - 700, 700);
    write(area.offset + area.length, 5000);
  }
  for (int i = 0; i < 60; ++i) write(random() % expected.size(), 1 + random() % 20000);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), expected));
  const FveVolume wanted = make_bitlocker(spec(), expected);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.source.data), wanted.image));
}

TEST(BitlockerHiddenAreasTest, TakeZerosAndNothingElse) {
  FveVolume volume = make_bitlocker(plain_spec(), ntfs_like(6 * kMebibyte, 23));
  const OpenedVolume opened = open_fve(volume, true);
  ASSERT_TRUE(opened.plain) << message_of(opened);
  engine::BlockDevice& plain = *opened.plain;
  for (const auto& [offset, length] : hidden_of(volume)) {
    SCOPED_TRACE(offset);
    const auto refused = [&](std::uint64_t at, std::uint64_t bytes) {
      const auto status = plain.write(at, random_bytes(bytes, at + bytes));
      EXPECT_EQ(status.code(), engine::IoCode::kOnlyZeros) << at << " " << bytes;
    };
    refused(offset, length);
    refused(offset + 5, 1);
    refused(offset - 512, 1024);
    refused(offset + length - 1, 2);
    refused(offset - 300000, 1048577 + 600000);
    EXPECT_TRUE(plain.write(offset, ByteVector(length)).ok());
    EXPECT_TRUE(plain.write(offset + 17, ByteVector(100)).ok());
    EXPECT_TRUE(plain.write_zeroes(offset, length).ok());
  }
  EXPECT_TRUE(plain.flush().ok());
  EXPECT_TRUE(same_bytes(all_bytes(*opened.source.data), volume.image));
  // Over the edge: zeros go where they can.
  const std::uint64_t edge = volume.metadata[1];
  ASSERT_TRUE(plain.write(edge - 1000, ByteVector(2000)).ok());
  ByteVector expected = volume.plain;
  std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(edge - 1000), 1000, std::byte{0});
  EXPECT_TRUE(
      same_bytes(all_bytes(*opened.source.data), make_bitlocker(plain_spec(), expected).image));
}

TEST(BitlockerFrontTest, ToGoFrontsHideTheirCover) {
  for (const FveFront front : {FveFront::kFat, FveFront::kExfat}) {
    FveSpec spec = plain_spec();
    spec.front = front;
    spec.relocated_sectors = 300;
    const FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 31));
    expect_reads(volume, open_fve(volume));
  }
}

TEST(BitlockerFrontTest, PlacesInAnyOrder) {
  FveSpec spec = plain_spec();
  spec.metadata = {3 * kMebibyte, 65536, kMebibyte};
  spec.relocated = 2 * kMebibyte + 512;
  const FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 32));
  expect_reads(volume, open_fve(volume));
}

// The GUID of encrypt-on-write, and no recording where it points: all of it is ciphertext.
TEST(BitlockerFrontTest, EowIdentifierWithoutRecording) {
  FveSpec spec = plain_spec();
  spec.eow_identifier = true;
  const FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 33));
  expect_reads(volume, open_fve(volume));
}

struct Conversion {
  std::uint16_t state;
  std::uint16_t next_state;
  std::uint32_t log_bytes;
};

class ConversionTest : public ::testing::TestWithParam<Conversion> {};

INSTANTIATE_TEST_SUITE_P(States, ConversionTest,
                         ::testing::Values(Conversion{3, 4, 0}, Conversion{3, 1, 0},
                                           Conversion{5, 4, 0}, Conversion{5, 1, 0},
                                           Conversion{2, 4, 65536}, Conversion{2, 1, 65536},
                                           Conversion{2, 1, 0}));

TEST_P(ConversionTest, ReadsOnBothSidesOfTheWatermark) {
  // In front of the first copy (the relocated sectors are plain), between, behind them, the ends.
  for (const std::uint64_t below :
       {std::uint64_t{0}, std::uint64_t{16384}, kMebibyte + 66048, kMebibyte + 90112,
        2 * kMebibyte + 131072, 4 * kMebibyte - 65536}) {
    if (GetParam().log_bytes > 0 && below < 16384) continue;  // the log would lie over the front
    FveSpec spec = plain_spec();
    spec.state = GetParam().state;
    spec.next_state = GetParam().next_state;
    spec.log_bytes = GetParam().log_bytes;
    spec.converted_below = below;
    if (below == kMebibyte + 66048 && spec.log_bytes > 0) continue;  // and here over the sectors
    SCOPED_TRACE(below);
    const FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 41));
    const OpenedVolume opened = open_fve(volume, true);
    expect_reads(volume, opened);
    EXPECT_FALSE(opened.plain->writable());
    EXPECT_THAT(opened.read_only_reason, HasSubstr(below == 0 ? "not encrypted" : "conver"));
    EXPECT_NE(opened.header->facts().state, "");
    EXPECT_FALSE(opened.plain->write(kMebibyte * 3, ByteVector(512)).ok());
    EXPECT_TRUE(same_bytes(all_bytes(*opened.source.data), volume.image));
  }
}

TEST(BitlockerStateTest, DecryptedWithItsMetadataLeft) {
  FveSpec spec;
  spec.method = FveMethod::kNone;
  spec.state = spec.next_state = 1;
  spec.converted_below = 0;
  const FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 42));
  const OpenedVolume opened = open_fve(volume.image, keyslots::KeyRing(), true);
  expect_reads(volume, opened);
  EXPECT_FALSE(opened.plain->writable());
  EXPECT_NE(opened.read_only_reason, "");
}

TEST(BitlockerStateTest, SuspendedOpensWithNoSecret) {
  for (const bool as_windows_11 : {false, true}) {
    FveProtector clear = protector_of(Kind::kClearKey);
    clear.new_properties = as_windows_11;
    const FveVolume volume =
        make_bitlocker(spec_with({protector_of(Kind::kTpm), clear}), ntfs_like(2 * kMebibyte, 43));
    const OpenedVolume opened = open_fve(volume.image, keyslots::KeyRing(), true);
    expect_reads(volume, opened);
    EXPECT_TRUE(opened.plain->writable());
    EXPECT_THAT(opened.header->facts().state, HasSubstr("suspended"));
  }
}

// Slow to make: two stretches. Shared by the tests of recovery passwords.
const FveVolume& with_two_passwords() {
  static const FveVolume volume = make_bitlocker(
      spec_with({protector_of(Kind::kTpm), protector_of(Kind::kRecoveryPassword),
                 protector_of(Kind::kExternalKey), protector_of(Kind::kRecoveryPassword)}),
      ntfs_like(2 * kMebibyte, 51));
  return volume;
}

TEST(BitlockerRecoveryTest, EitherPasswordOpens) {
  const FveVolume& volume = with_two_passwords();
  for (const std::size_t which : {1U, 3U}) {
    const std::string& digits = volume.ways_in[which].recovery;
    const OpenedVolume opened = open_fve(volume.image, ring_of(recovery_password(digits)));
    expect_reads(volume, opened);
    EXPECT_THAT(opened.opened_by, HasSubstr("protector " + std::to_string(which)));
  }
  // As people type it.
  std::string joined = volume.ways_in[3].recovery;
  std::erase(joined, '-');
  expect_reads(volume, open_fve(volume.image, ring_of(recovery_password(joined))));
}

TEST(BitlockerRecoveryTest, WrongDigitsAreSaid) {
  const FveVolume& volume = with_two_passwords();
  std::string digits = volume.ways_in[1].recovery;
  digits[9] = digits[9] == '9' ? '0' : static_cast<char>(digits[9] + 1);
  const OpenedVolume typo = open_fve(volume.image, ring_of(recovery_password(digits)));
  EXPECT_THAT(message_of(typo), HasSubstr("group 2"));
  // Sound, but of another volume: 8 groups of 000011.
  const std::string sound = "000011-000011-000011-000011-000011-000011-000011-000011";
  const OpenedVolume other = open_fve(volume.image, ring_of(recovery_password(sound)));
  EXPECT_THAT(message_of(other), HasSubstr("no key fits: tried recovery password on protectors"));
  EXPECT_THAT(message_of(other), HasSubstr("1, 3"));
  ASSERT_TRUE(other.error);
  EXPECT_EQ(other.error->code(), engine::ErrorCode::kWrongKey);
}

TEST(BitlockerRecoveryTest, StoredPasswordsAreTheOnesThatWereMade) {
  const FveVolume& volume = with_two_passwords();
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.header);
  std::vector<engine::SecretBytes> keys;
  keys.push_back(engine::SecretBytes::copy_of(volume.vmk));
  const auto stored = opened.header->stored_secrets(keys);
  ASSERT_TRUE(stored.ok()) << stored.error().message();
  ASSERT_EQ(stored->size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& way_in = volume.ways_in[i == 0 ? 1 : 3];
    const auto bytes = (*stored)[i].secret.bytes.span();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
              way_in.recovery);
    EXPECT_EQ((*stored)[i].secret.protector_id, way_in.guid);
  }
}

TEST(BitlockerPassphraseTest, UnicodeAsWindowsHashesIt) {
  const std::vector<std::pair<std::u16string, std::string>> phrases = {
      {u"Grüße aus Köln", "Grüße aus Köln"},
      {u"🔑 to the 🏰", "🔑 to the 🏰"},
      {u"Пароль 日本", "Пароль 日本"},
  };
  for (const auto& [utf16, utf8] : phrases) {
    const FveVolume volume =
        make_bitlocker(spec_with({passphrase_protector(utf16)}), ntfs_like(kMebibyte, 52));
    expect_reads(volume, open_fve(volume.image, ring_of(passphrase(utf8))));
    const OpenedVolume wrong = open_fve(volume.image, ring_of(passphrase(utf8 + " ")));
    EXPECT_THAT(message_of(wrong), HasSubstr("no key fits"));
    // Cut inside a character, an overlong form, half of a surrogate pair: not UTF-8.
    for (const std::string bad : {"Gr\xc3", "\xc0\xaf", "\xed\xa0\xbd", "\xf5\x80\x80\x80"}) {
      const OpenedVolume opened = open_fve(volume.image, ring_of(passphrase(bad)));
      ASSERT_TRUE(opened.error);
      EXPECT_EQ(opened.error->code(), engine::ErrorCode::kUsage) << message_of(opened);
      EXPECT_THAT(message_of(opened), HasSubstr("UTF-8"));
    }
  }
}

TEST(BitlockerProtectorTest, AllAreListedAndUnknownOnesPassedOver) {
  std::vector<FveProtector> wanted = {protector_of(Kind::kTpm), protector_of(Kind::kUnknown),
                                      protector_of(Kind::kExternalKey)};
  for (FveProtector& protector : wanted) protector.new_properties = true;
  const FveVolume volume = make_bitlocker(spec_with(wanted), ntfs_like(2 * kMebibyte, 61));
  const OpenedVolume opened = open_fve(volume);
  expect_reads(volume, opened);
  const auto protectors = opened.header->protectors();
  ASSERT_GE(protectors.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(protectors[i].id, volume.ways_in[i].guid);
    EXPECT_EQ(protectors[i].created, "2025-09-13 14:00:16");
    EXPECT_TRUE(protectors[i].on_disk);
  }
  EXPECT_THAT(protectors[0].description, HasSubstr("TPM"));
  EXPECT_THAT(protectors[0].unusable, HasSubstr("TPM"));
  EXPECT_THAT(protectors[1].description, HasSubstr("unknown"));
  EXPECT_NE(protectors[1].unusable, "");
  EXPECT_THAT(protectors[2].matches, HasSubstr(volume.ways_in[2].guid + ".BEK"));
  EXPECT_EQ(protectors[2].unusable, "");
}

TEST(BitlockerProtectorTest, KeysOfOthersAreNamed) {
  const FveVolume& volume = with_two_passwords();
  keyslots::Secret other = external_key(volume.ways_in[2]);
  other.bytes.span()[3] ^= std::byte{1};
  const OpenedVolume wrong = open_fve(volume.image, ring_of(std::move(other)));
  EXPECT_THAT(message_of(wrong), HasSubstr("no key fits: tried BEK file on protector 2"));
  keyslots::Secret foreign = external_key(volume.ways_in[2]);
  foreign.bytes.span()[3] ^= std::byte{1};
  foreign.protector_id = "4381F759-C4F8-4DE0-BB61-FC33A831BDA5";
  const OpenedVolume strange = open_fve(volume.image, ring_of(std::move(foreign)));
  EXPECT_THAT(message_of(strange), HasSubstr("4381F759-C4F8-4DE0-BB61-FC33A831BDA5"));
  const OpenedVolume nothing = open_fve(volume.image, keyslots::KeyRing());
  EXPECT_THAT(message_of(nothing), HasSubstr("a key is needed"));
  EXPECT_THAT(message_of(nothing), HasSubstr("protectors 1, 2, 3"));
}

TEST(BitlockerRawKeyTest, VmkAndFvekOpen) {
  for (const FveMethod method : kMethods) {
    FveSpec spec = spec_with({protector_of(Kind::kTpm)});
    spec.method = method;
    const FveVolume volume = make_bitlocker(spec, ntfs_like(2 * kMebibyte, 71));
    expect_reads(volume, open_fve(volume.image, ring_of(raw_key(volume.vmk))));
    expect_reads(volume, open_fve(volume.image, ring_of(raw_key(volume.fvek))));
    // As dislocker keeps it: two bytes of method in front, padded to 64.
    ByteVector tagged(66);
    tagged[0] = static_cast<std::byte>(static_cast<unsigned>(method) & 0xff);
    tagged[1] = std::byte{0x80};
    std::copy(volume.fvek.begin(), volume.fvek.end(), tagged.begin() + 2);
    expect_reads(volume, open_fve(volume.image, ring_of(raw_key(tagged))));
  }
}

TEST(BitlockerRawKeyTest, WrongOnesAreRefused) {
  const FveVolume volume =
      make_bitlocker(spec_with({protector_of(Kind::kTpm)}), ntfs_like(2 * kMebibyte, 72));
  for (const ByteVector& key : {volume.vmk, volume.fvek}) {
    ByteVector wrong = key;
    wrong[5] ^= std::byte{0x10};
    const OpenedVolume opened = open_fve(volume.image, ring_of(raw_key(wrong)));
    EXPECT_FALSE(opened.plain);
    EXPECT_THAT(message_of(opened), HasSubstr("no key fits"));
  }
  for (const std::size_t bytes : {1U, 16U, 31U, 33U, 64U, 66U, 512U}) {
    const OpenedVolume opened =
        open_fve(volume.image, ring_of(raw_key(random_bytes(bytes, bytes))));
    EXPECT_FALSE(opened.plain) << bytes;
    EXPECT_TRUE(opened.error) << bytes;
  }
  // Nothing in the plaintext shows that the key is right: it is not taken on trust.
  const FveVolume noise =
      make_bitlocker(spec_with({protector_of(Kind::kTpm)}), random_bytes(2 * kMebibyte, 73));
  EXPECT_FALSE(open_fve(noise.image, ring_of(raw_key(noise.fvek))).plain);
  EXPECT_TRUE(open_fve(noise.image, ring_of(raw_key(noise.vmk))).plain);
}

}  // namespace
