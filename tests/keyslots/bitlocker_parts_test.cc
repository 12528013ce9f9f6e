// The parsers of BitLocker's parts, each with bytes of its own.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/crc32.h"
#include "engine/memory_device.h"
#include "keyslots/bitlocker/bitlocker_boot_sector.h"
#include "keyslots/bitlocker/bitlocker_cipher.h"
#include "keyslots/bitlocker/bitlocker_datum.h"
#include "keyslots/bitlocker/bitlocker_layout.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"
#include "keyslots/bitlocker/bitlocker_unlock.h"
#include "keyslots/bitlocker/bitlocker_verify.h"
#include "tests/support/test_bytes.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using engine::MutableBytes;
using engine::SecretBytes;
using engine::store_le;
using keyslots::BitlockerMetadata;
using keyslots::BitlockerMethod;
using keyslots::BitlockerPiece;
using keyslots::BitlockerState;
using keyslots::DatumRole;
using keyslots::DatumType;
using test::ByteVector;
using Kind = BitlockerPiece::Kind;

void put_text(ByteVector& bytes, std::size_t at, std::string_view text) {
  std::copy_n(engine::as_bytes(text).begin(), text.size(),
              bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

constexpr std::string_view kGuid =
    "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01";
constexpr std::string_view kEowGuid =
    "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8";

ByteVector boot_sector(std::string_view oem, std::uint16_t sector_bytes,
                       std::uint8_t cluster_sectors) {
  ByteVector sector(512);
  put_text(sector, 3, oem);
  store_le(MutableBytes(sector), 11, sector_bytes);
  sector[13] = std::byte{cluster_sectors};
  return sector;
}

void put_offsets(ByteVector& sector, std::size_t at, std::string_view guid, unsigned count) {
  put_text(sector, at, guid);
  for (unsigned i = 0; i < count; ++i) {
    store_le(MutableBytes(sector), at + 16 + i * 8, std::uint64_t{(i + 1) * 0x10000});
  }
}

TEST(BitlockerBootSector, FindsTheGuidWhereverItIs) {
  for (const std::size_t at : {160U, 424U, 472U, 77U}) {
    ByteVector sector = boot_sector(at == 160 ? "-FVE-FS-" : "MSWIN4.1", 512, 8);
    put_offsets(sector, at, kGuid, 3);
    auto boot = keyslots::parse_bitlocker_boot_sector(sector);
    ASSERT_TRUE(boot.ok() && boot->has_value()) << at;
    EXPECT_THAT((*boot)->metadata_offsets, testing::ElementsAre(0x10000, 0x20000, 0x30000));
    EXPECT_FALSE((*boot)->eow_offsets.has_value());
    EXPECT_EQ((*boot)->sector_bytes, 512U);
    EXPECT_FALSE((*boot)->vista);
  }
}

TEST(BitlockerBootSector, EncryptOnWriteNamesTwoPlacesMore) {
  ByteVector sector = boot_sector("-FVE-FS-", 4096, 1);
  put_offsets(sector, 160, kEowGuid, 5);
  auto boot = keyslots::parse_bitlocker_boot_sector(sector);
  ASSERT_TRUE(boot.ok() && boot->has_value());
  EXPECT_EQ((*boot)->sector_bytes, 4096U);
  EXPECT_EQ((*boot)->eow_offsets, (std::array<std::uint64_t, 2>{0x40000, 0x50000}));
}

TEST(BitlockerBootSector, AGuidWithoutRoomForItsOffsetsIsNone) {
  ByteVector sector = boot_sector("MSWIN4.1", 512, 8);
  put_text(sector, 496, kGuid);
  auto boot = keyslots::parse_bitlocker_boot_sector(sector);
  ASSERT_TRUE(boot.ok());
  EXPECT_FALSE(boot->has_value());
}

TEST(BitlockerBootSector, VistaNamesACluster) {
  ByteVector sector = boot_sector("-FVE-FS-", 512, 8);
  store_le(MutableBytes(sector), 40, std::uint64_t{9999});
  store_le(MutableBytes(sector), 56, std::uint64_t{5492});
  auto boot = keyslots::parse_bitlocker_boot_sector(sector);
  ASSERT_TRUE(boot.ok() && boot->has_value());
  EXPECT_TRUE((*boot)->vista);
  EXPECT_THAT((*boot)->metadata_offsets, testing::ElementsAre(5492 * 4096));
  EXPECT_EQ((*boot)->volume_sectors, 9999U);
  // Clusters above 64 KiB are a negative power of two.
  sector[13] = std::byte{0xf8};
  boot = keyslots::parse_bitlocker_boot_sector(sector);
  ASSERT_TRUE(boot.ok() && boot->has_value());
  EXPECT_EQ((*boot)->cluster_bytes, 512U * 256);
  for (const std::uint64_t cluster : {std::uint64_t{0}, UINT64_MAX}) {
    store_le(MutableBytes(sector), 56, cluster);
    EXPECT_FALSE(keyslots::parse_bitlocker_boot_sector(sector).ok());
  }
}

TEST(BitlockerBootSector, SectorSizes) {
  ByteVector sector = boot_sector("-FVE-FS-", 0, 8);
  put_offsets(sector, 160, kGuid, 3);
  auto unknown = keyslots::parse_bitlocker_boot_sector(sector);
  ASSERT_TRUE(unknown.ok() && unknown->has_value());
  EXPECT_EQ((*unknown)->sector_bytes, 0U);
  for (const std::uint16_t wrong : std::initializer_list<std::uint16_t>{1, 256, 513, 8192, 65535}) {
    store_le(MutableBytes(sector), 11, wrong);
    auto boot = keyslots::parse_bitlocker_boot_sector(sector);
    ASSERT_FALSE(boot.ok()) << wrong;
    EXPECT_EQ(boot.error().code(), ErrorCode::kDamaged);
  }
  EXPECT_FALSE(keyslots::parse_bitlocker_boot_sector(ByteVector(512))->has_value());
}

ByteVector datum(std::uint16_t role, std::uint16_t type, const ByteVector& payload) {
  ByteVector bytes(8 + payload.size());
  store_le(MutableBytes(bytes), 0, static_cast<std::uint16_t>(8 + payload.size()));
  store_le(MutableBytes(bytes), 2, role);
  store_le(MutableBytes(bytes), 4, type);
  store_le(MutableBytes(bytes), 6, std::uint16_t{1});
  std::copy(payload.begin(), payload.end(), bytes.begin() + 8);
  return bytes;
}

ByteVector joined(std::initializer_list<ByteVector> parts) {
  ByteVector all;
  for (const ByteVector& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(BitlockerDatum, TreesAndUnknownTypes) {
  const ByteVector bytes =
      joined({datum(7, 2, {std::byte{'A'}, std::byte{0}}),
              datum(2, 8,
                    joined({ByteVector(28), datum(0, 0x77, ByteVector(5)),
                            datum(0, 3, joined({ByteVector(20), datum(0, 5, ByteVector(44))}))})),
              datum(0x99, 0x99, ByteVector(3)), ByteVector(7)});
  auto tree = keyslots::parse_datums(bytes);
  ASSERT_TRUE(tree.ok()) << tree.error().message();
  ASSERT_EQ(tree->size(), 3U);
  EXPECT_EQ(keyslots::datum_text((*tree)[0]), "A");
  ASSERT_EQ((*tree)[1].children.size(), 2U);
  const auto* stretch = (*tree)[1].child(DatumType::kStretchKey);
  ASSERT_NE(stretch, nullptr);
  ASSERT_EQ(stretch->children.size(), 1U);
  EXPECT_EQ(stretch->children[0].payload.size(), 44U);
  EXPECT_EQ(keyslots::find_datum(*tree, DatumRole::kFvek, DatumType::kAesCcm), nullptr);
}

TEST(BitlockerDatum, SizesThatCannotBe) {
  ByteVector small = datum(0, 1, ByteVector(4));
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 7, 13, 65535}) {
    store_le(MutableBytes(small), 0, size);
    auto tree = keyslots::parse_datums(small);
    ASSERT_FALSE(tree.ok()) << size;
    EXPECT_EQ(tree.error().code(), ErrorCode::kDamaged);
  }
  EXPECT_FALSE(keyslots::parse_datums(datum(2, 8, ByteVector(27))).ok());
  // A child that reaches out of its parent.
  ByteVector child = datum(0, 1, ByteVector(4));
  store_le(MutableBytes(child), 0, std::uint16_t{13});
  EXPECT_FALSE(keyslots::parse_datums(datum(0, 4, joined({ByteVector(4), child}))).ok());
}

TEST(BitlockerDatum, DepthAndNumberAreBounded) {
  ByteVector nested = datum(0, 1, {});
  for (std::size_t i = 1; i < keyslots::kMaxDatumDepth; ++i) {
    nested = datum(0, 4, joined({ByteVector(4), nested}));
  }
  EXPECT_TRUE(keyslots::parse_datums(nested).ok());
  EXPECT_FALSE(keyslots::parse_datums(datum(0, 4, joined({ByteVector(4), nested}))).ok());
  ByteVector many;
  for (std::size_t i = 0; i < keyslots::kMaxDatums; ++i) {
    const ByteVector one = datum(0, 1, {});
    many.insert(many.end(), one.begin(), one.end());
  }
  EXPECT_TRUE(keyslots::parse_datums(many).ok());
  EXPECT_FALSE(keyslots::parse_datums(joined({many, datum(0, 1, {})})).ok());
}

TEST(BitlockerDatum, Dates) {
  EXPECT_EQ(keyslots::filetime_text(132446282435220000), "2020-09-15 07:24:03");
  EXPECT_EQ(keyslots::filetime_text(10'000'000), "1601-01-01 00:00:01");
  EXPECT_EQ(keyslots::filetime_text(2650467743999999999), "9999-12-31 23:59:59");
  EXPECT_EQ(keyslots::filetime_text(2650467744000000000), "");
  EXPECT_EQ(keyslots::filetime_text(UINT64_MAX), "");
  EXPECT_EQ(keyslots::filetime_text(0), "");
}

// A copy with nothing in it but its head.
ByteVector metadata_block(std::uint16_t version) {
  ByteVector block(1024);
  const MutableBytes bytes(block);
  put_text(block, 0, "-FVE-FS-");
  store_le(bytes, 8, static_cast<std::uint16_t>(version == 1 ? 112 : 7));
  store_le(bytes, 10, version);
  store_le(bytes, 12, std::uint16_t{4});
  store_le(bytes, 14, std::uint16_t{4});
  store_le(bytes, 64, std::uint32_t{48});
  store_le(bytes, 68, std::uint32_t{1});
  store_le(bytes, 72, std::uint32_t{48});
  store_le(bytes, 76, std::uint32_t{48});
  store_le(bytes, 100, std::uint16_t{0x8004});
  store_le(bytes, 112, std::uint16_t{8});
  store_le(bytes, 116, engine::crc32(engine::Bytes(block).first(112)));
  return block;
}

TEST(BitlockerMetadata, BothVersionsAndTheirSums) {
  for (const std::uint16_t version : std::initializer_list<std::uint16_t>{1, 2}) {
    ByteVector block = metadata_block(version);
    auto good = keyslots::parse_bitlocker_metadata(block);
    ASSERT_TRUE(good.ok()) << good.error().message();
    EXPECT_TRUE(good->crc_holds);
    EXPECT_EQ(good->method, BitlockerMethod::kXts128);
    EXPECT_TRUE(good->sealed_hash.empty());
    block[20] ^= std::byte{1};
    auto bad = keyslots::parse_bitlocker_metadata(block);
    ASSERT_TRUE(bad.ok());
    EXPECT_FALSE(bad->crc_holds);
  }
}

TEST(BitlockerMetadata, SizesThatLie) {
  const auto expect_damaged = [](std::size_t at, std::uint32_t value, const char* what) {
    ByteVector block = metadata_block(2);
    if (at < 64) {
      store_le(MutableBytes(block), at, static_cast<std::uint16_t>(value));
    } else {
      store_le(MutableBytes(block), at, value);
    }
    auto parsed = keyslots::parse_bitlocker_metadata(block);
    ASSERT_FALSE(parsed.ok()) << what;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kDamaged) << what;
  };
  expect_damaged(8, 6, "too small for its headers");
  expect_damaged(8, 65, "larger than what there is");
  expect_damaged(8, 0xffff, "larger than can be");
  expect_damaged(64, 49, "dataset larger than the block");
  expect_damaged(64, 0xffffffff, "dataset of 4 GiB");
  expect_damaged(72, 47, "entries inside the header");
  expect_damaged(72, 49, "entries end before they begin");
  expect_damaged(76, 49, "entries end behind the dataset");
  ByteVector other = metadata_block(2);
  store_le(MutableBytes(other), 10, std::uint16_t{3});
  auto parsed = keyslots::parse_bitlocker_metadata(other);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code(), ErrorCode::kNotSupported);
  for (std::size_t length = 0; length < 112; ++length) {
    EXPECT_FALSE(keyslots::parse_bitlocker_metadata(engine::Bytes(other).first(length)).ok());
  }
}

std::string text_of(const SecretBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(BitlockerRecoveryPassword, ThereAndBack) {
  constexpr const char* kDigits = "042647-302313-590458-071500-554323-116567-412181-516978";
  for (const std::string& text :
       {std::string(kDigits), std::string("042647302313590458071500554323116567412181516978"),
        std::string(" 042647 302313 590458 071500 554323 116567 412181 516978\r\n")}) {
    auto key = keyslots::parse_recovery_password(text);
    ASSERT_TRUE(key.ok()) << key.error().message();
    EXPECT_EQ(text_of(keyslots::format_recovery_password(key->span())), kDigits);
  }
}

TEST(BitlockerRecoveryPassword, EveryCheck) {
  const auto message = [](std::string_view text) {
    auto key = keyslots::parse_recovery_password(text);
    if (key) return std::string("accepted");
    EXPECT_EQ(key.error().code(), ErrorCode::kUsage);
    EXPECT_FALSE(key.error().hint().empty());
    return key.error().message();
  };
  using testing::HasSubstr;
  const std::string tail = "302313-590458-071500-554323-116567-412181-516978";
  EXPECT_THAT(message(""), HasSubstr("0 digits"));
  EXPECT_THAT(message(tail), HasSubstr("42 digits"));
  EXPECT_THAT(message("042647-042647-" + tail), HasSubstr("more than 48"));
  EXPECT_THAT(message("04264x-" + tail), HasSubstr("other characters"));
  EXPECT_THAT(message("042648-" + tail), HasSubstr("group 1"));
  EXPECT_THAT(message("042647-302313-590458-071500-554323-116567-412181-516987"),
              HasSubstr("group 8"));
  // 720896 is 11 * 65536; one less group is the largest there is.
  EXPECT_THAT(message("720896-" + tail), HasSubstr("too large"));
  EXPECT_EQ(message("720885-" + tail), "accepted");
}

TEST(BitlockerPassphrase, WhatIsNotUtf8IsSaid) {
  using namespace std::string_view_literals;
  for (const std::string_view wrong : {"ab\x80"sv, "\xc3"sv, "\xc0\xaf"sv, "\xe0\x80\xaf"sv,
                                       "\xed\xa0\x80"sv, "\xf4\x90\x80\x80"sv, "\xff"sv}) {
    auto hash = keyslots::passphrase_hash(engine::as_bytes(wrong));
    ASSERT_FALSE(hash.ok());
    EXPECT_EQ(hash.error().code(), ErrorCode::kUsage);
    EXPECT_THAT(hash.error().message(), testing::HasSubstr("UTF-8"));
  }
  EXPECT_TRUE(keyslots::passphrase_hash({}).ok());
  EXPECT_TRUE(keyslots::passphrase_hash(engine::as_bytes("p\xc3\xa4ss \xf0\x9f\x94\x91")).ok());
}

TEST(BitlockerUnseal, TooShortIsDamageAndAnotherKeyIsNot) {
  for (const std::size_t size : {0U, 1U, 28U}) {
    EXPECT_FALSE(keyslots::unseal(ByteVector(size), ByteVector(32)).ok());
  }
  auto other = keyslots::unseal(ByteVector(72), ByteVector(32));
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(other->has_value());
  auto short_key = keyslots::unseal(ByteVector(72), ByteVector(16));
  ASSERT_TRUE(short_key.ok());
  EXPECT_FALSE(short_key->has_value());
}

TEST(BitlockerCipher, KeysInEveryForm) {
  ByteVector stored(64);
  for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::byte>(i);
  auto padded = keyslots::bitlocker_cipher_key(BitlockerMethod::kAes128Diffuser, stored);
  ASSERT_TRUE(padded.has_value());
  ASSERT_EQ(padded->size(), 32U);
  EXPECT_EQ(padded->data()[15], std::byte{15});
  EXPECT_EQ(padded->data()[16], std::byte{32});
  auto whole = keyslots::bitlocker_cipher_key(BitlockerMethod::kXts256, stored);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->size(), 64U);
  auto cut = keyslots::bitlocker_cipher_key(BitlockerMethod::kAes128, stored);
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(cut->size(), 16U);
  ByteVector named(66);
  store_le(MutableBytes(named), 0, std::uint16_t{0x8004});
  EXPECT_TRUE(keyslots::bitlocker_cipher_key(BitlockerMethod::kXts128, named).has_value());
  EXPECT_FALSE(keyslots::bitlocker_cipher_key(BitlockerMethod::kXts256, named).has_value());
  EXPECT_FALSE(
      keyslots::bitlocker_cipher_key(BitlockerMethod::kXts128, ByteVector(16)).has_value());
  EXPECT_FALSE(keyslots::bitlocker_cipher_key(static_cast<BitlockerMethod>(0x8006), stored));
}

constexpr std::uint64_t kMiB = 1 << 20;

BitlockerMetadata laid_out(std::uint16_t version = 2) {
  BitlockerMetadata metadata;
  metadata.version = version;
  metadata.state = BitlockerState::kEncrypted;
  metadata.state_offset = 8 * kMiB;
  metadata.offsets = {2 * kMiB, 3 * kMiB, 4 * kMiB};
  if (version == 2) {
    metadata.virtualized_sectors = 16;
    metadata.virtualized_offset = 5 * kMiB;
  }
  return metadata;
}

std::string plan(const BitlockerMetadata& metadata, const keyslots::EowState* eow = nullptr,
                 std::uint64_t volume_bytes = 8 * kMiB) {
  auto pieces = keyslots::plan_bitlocker_layout(
      metadata, eow, {.volume_bytes = volume_bytes, .sector_bytes = 512, .cluster_bytes = 4096});
  if (!pieces) {
    EXPECT_EQ(pieces.error().code(), ErrorCode::kDamaged);
    return pieces.error().message();
  }
  std::string text;
  std::uint64_t total = 0;
  for (const BitlockerPiece& piece : *pieces) {
    total += piece.length;
    const char* name = piece.kind == Kind::kCipher  ? "c"
                       : piece.kind == Kind::kPlain ? "p"
                       : piece.kind == Kind::kBlank ? "0"
                                                    : "m";
    text += text.empty() ? "" : " ";
    text += name;
    if (piece.kind == Kind::kCipher || piece.kind == Kind::kPlain) {
      text += std::to_string(piece.offset / 512);
    }
    text += "+" + std::to_string(piece.length / 512);
  }
  EXPECT_EQ(total, volume_bytes);
  return text;
}

TEST(BitlockerLayout, RelocatesAndBlanks) {
  EXPECT_EQ(plan(laid_out()),
            "c10240+16 c16+4080 0+128 c4224+1920 0+128 c6272+1920 0+128 c8320+1920 0+16 "
            "c10256+6128");
}

TEST(BitlockerLayout, VistaKeepsItsFirstSectorsInTheClear) {
  EXPECT_EQ(plan(laid_out(1)),
            "m+1 p1+15 c16+4080 0+32 c4128+2016 0+32 c6176+2016 0+32 c8224+8160");
  BitlockerMetadata done = laid_out(1);
  done.state_offset = 0;
  EXPECT_EQ(plan(done), plan(laid_out(1)));
}

TEST(BitlockerLayout, TheWatermarkFollowsThePhysicalPlace) {
  BitlockerMetadata metadata = laid_out();
  metadata.state = BitlockerState::kPaused;
  metadata.state_offset = 4 * kMiB + kMiB / 2;
  EXPECT_EQ(plan(metadata),
            "p10240+16 c16+4080 0+128 c4224+1920 0+128 c6272+1920 0+128 c8320+896 p9216+1024 "
            "0+16 p10256+6128");
  metadata.state_offset = 0;  // decrypted down to the last byte, but not finished
  EXPECT_THAT(plan(metadata), testing::Not(testing::HasSubstr("c")));
  metadata.state_offset = 1000;
  EXPECT_THAT(plan(metadata), testing::HasSubstr("inside a sector"));
}

TEST(BitlockerLayout, SectorsBehindTheEncryptedPartArePlain) {
  BitlockerMetadata metadata = laid_out();
  metadata.state_offset = 8 * kMiB - 1024;
  EXPECT_THAT(plan(metadata), testing::EndsWith("c10256+6126 p16382+2"));
}

TEST(BitlockerLayout, TheConversionLogReadsAsZeros) {
  BitlockerMetadata metadata = laid_out();
  metadata.state = BitlockerState::kSwitchingDirty;
  metadata.state_offset = 6 * kMiB;
  metadata.state_bytes = 1024;
  EXPECT_THAT(plan(metadata), testing::EndsWith("c10256+2032 0+2 p12290+4094"));
  metadata.state_offset = 4 * kMiB;
  EXPECT_THAT(plan(metadata), testing::HasSubstr("overlaps"));
}

TEST(BitlockerLayout, DecryptedStillRelocates) {
  BitlockerMetadata metadata = laid_out();
  metadata.state = BitlockerState::kDecrypted;
  EXPECT_EQ(plan(metadata),
            "p10240+16 p16+4080 0+128 p4224+1920 0+128 p6272+1920 0+128 p8320+1920 0+16 "
            "p10256+6128");
}

TEST(BitlockerLayout, ARecordingSaysWhichChunksArePlain) {
  keyslots::EowState eow;
  eow.plain = {{kMiB, kMiB / 2}, {5 * kMiB, kMiB}};
  eow.hidden = {{6 * kMiB, 1024}, {6 * kMiB + 1024, 512}, {7 * kMiB, 512}};
  EXPECT_EQ(plan(laid_out(), &eow),
            "p10240+16 c16+2032 p2048+1024 c3072+1024 0+128 c4224+1920 0+128 c6272+1920 0+128 "
            "c8320+1920 0+16 p10256+2032 0+3 c12291+2045 0+1 c14337+2047");
  // What no bitmap speaks about is as both its sides are, and plain at the end.
  eow.hidden = {};
  eow.covered = {{8192, kMiB / 4}, {kMiB / 2, 6 * kMiB + kMiB / 2}};
  EXPECT_EQ(plan(laid_out(), &eow).substr(0, 41), "p10240+16 c16+2032 p2048+1024 c3072+1024 ");
  EXPECT_THAT(plan(laid_out(), &eow), testing::EndsWith("p10256+2032 c12288+2048 p14336+2048"));
  eow.covered = {{8192, 2 * kMiB}, {5 * kMiB, 3 * kMiB}};
  EXPECT_THAT(plan(laid_out(), &eow), testing::HasSubstr("does not say"));
  eow.covered = {};
  eow.hidden = {{2 * kMiB + 512, 512}};
  EXPECT_THAT(plan(laid_out(), &eow), testing::HasSubstr("overlaps"));
}

TEST(BitlockerLayout, AreasThatLieAreRefused) {
  using testing::HasSubstr;
  BitlockerMetadata metadata = laid_out();
  metadata.offsets[1] = metadata.offsets[0];
  EXPECT_THAT(plan(metadata), HasSubstr("overlaps"));
  metadata = laid_out();
  metadata.offsets[1] = metadata.offsets[0] + 512;
  EXPECT_THAT(plan(metadata), HasSubstr("overlaps"));
  metadata = laid_out();
  metadata.offsets[2] = 4 * kMiB + 1;
  EXPECT_THAT(plan(metadata), HasSubstr("whole sectors"));
  metadata = laid_out();
  metadata.offsets[0] = 512;
  EXPECT_THAT(plan(metadata), HasSubstr("overlaps the volume's first sectors"));
  metadata = laid_out();
  metadata.virtualized_offset = 4 * kMiB + 4096;
  EXPECT_THAT(plan(metadata), HasSubstr("overlaps"));
  metadata = laid_out();
  metadata.virtualized_offset = 0;
  EXPECT_THAT(plan(metadata), HasSubstr("overlaps"));
  metadata = laid_out();
  metadata.virtualized_offset = 8 * kMiB;
  EXPECT_THAT(plan(metadata), HasSubstr("there are only"));
  metadata = laid_out();
  metadata.virtualized_sectors = UINT32_MAX;
  EXPECT_THAT(plan(metadata), testing::AnyOf(HasSubstr("overlaps"), HasSubstr("there are only")));
}

// What is cut off is not missed, as long as the first sectors are there.
TEST(BitlockerLayout, TruncatedImages) {
  EXPECT_EQ(plan(laid_out(1), nullptr, 3 * kMiB + 512), "m+1 p1+15 c16+4080 0+32 c4128+2016 0+1");
  EXPECT_THAT(plan(laid_out(), nullptr, 3 * kMiB), testing::HasSubstr("there are only"));
}

// The log of a conversion of the old kind: two slots of 1 KiB and 512 bytes each.
TEST(BitlockerVerify, AChunkHalfConvertedIsNotReadOver) {
  constexpr std::uint32_t kSlot = 1024 + 512;
  constexpr std::uint32_t kLog = 1024 + 2 * kSlot;
  BitlockerMetadata metadata = laid_out();
  metadata.state = BitlockerState::kSwitchingDirty;
  metadata.state_offset = 4096;
  metadata.state_bytes = kLog;
  ByteVector image(65536);
  const auto why = [&] {
    engine::MemoryDevice volume(image);
    return keyslots::why_conversion_unreadable(volume, metadata);
  };
  EXPECT_EQ(why(), "");
  put_text(image, 4096, "OLRDHEVF");
  put_text(image, 4096 + kLog - 512, "OLRDHEVF");
  EXPECT_EQ(why(), "");
  ByteVector record(32);
  const MutableBytes bytes(record);
  store_le(bytes, 0, std::uint16_t{32});
  store_le(bytes, 2, std::uint16_t{1});
  store_le(bytes, 4, std::uint64_t{7});
  store_le(bytes, 12, std::uint64_t{32768});
  store_le(bytes, 20, std::uint32_t{160});
  store_le(bytes, 24, engine::crc32(ByteVector(160)));
  store_le(bytes, 28, engine::crc32(engine::Bytes(record).first(28)));
  std::copy(record.begin(), record.end(), image.begin() + 4096 + 512);
  std::copy(record.begin(), record.end(), image.begin() + 4096 + kSlot);
  EXPECT_THAT(why(), testing::HasSubstr("5120 bytes at byte 32768 were half done"));
  image[4096 + 512] ^= std::byte{1};
  image[4096 + kSlot] ^= std::byte{1};
  EXPECT_THAT(why(), testing::HasSubstr("conversion log"));
  metadata.state = BitlockerState::kSwitching;
  EXPECT_EQ(why(), "");
}

TEST(BitlockerVerify, BootSectors) {
  for (const auto& [at, name] :
       std::initializer_list<std::pair<std::size_t, const char*>>{{3, "NTFS    "},
                                                                  {3, "EXFAT   "},
                                                                  {54, "FAT12   "},
                                                                  {54, "FAT16   "},
                                                                  {82, "FAT32   "}}) {
    ByteVector sector(512);
    put_text(sector, at, name);
    EXPECT_FALSE(keyslots::is_boot_sector(sector));
    put_text(sector, 510, "\x55\xaa");
    EXPECT_TRUE(keyslots::is_boot_sector(sector)) << name;
  }
  EXPECT_FALSE(keyslots::is_boot_sector(ByteVector(512)));
}

}  // namespace
}  // namespace latchkey
