// Encrypt-on-write recordings: what their bits, records and logs come to, and the ones that are
// refused. The volumes of the corpus name such recordings and hold none: their makers' Windows had
// finished, or they were blanked.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/file_device.h"
#include "engine/memory_device.h"
#include "keyslots/bitlocker/conversion_log.h"
#include "keyslots/bitlocker/eow.h"
#include "tests/support/eow_builder.h"
#include "tests/support/test_bytes.h"

namespace latchkey::keyslots {

void PrintTo(const VolumeRange& range, std::ostream* out) {  // NOLINT: gtest's name
  *out << range.length << " bytes at " << range.offset;
}

namespace {

using engine::ErrorCode;
using test::ByteVector;
using test::EowSpec;
using test::EowWriter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kChunk = 64 * kKib;
constexpr std::uint64_t kRegion = 8 * kKib;  // not at a chunk

// A volume of 2 MiB: a region from 8 KiB on whose last chunk is short, the relocated block as a
// region of its own, then the recording.
class EowTest : public ::testing::Test {
 protected:
  EowTest() {
    spec_.places = {1024 * kKib, 1100 * kKib};
    spec_.regions = {{kRegion,
                      4 * kChunk + 10 * kKib,
                      {true, false, false, true, false},
                      1028 * kKib,
                      1040 * kKib},
                     {512 * kKib, 8 * kKib, {false}, 1032 * kKib, 1060 * kKib}};
    writer_.put_all(spec_);
  }

  engine::Result<std::optional<EowState>> read() {
    engine::MemoryDevice device(image_, false);
    notices_ = {};
    return read_eow(device, spec_.places, spec_.sector_bytes, notices_);
  }
  EowState state() {
    auto got = read();
    EXPECT_TRUE(got.ok()) << got.error().message();
    if (!got.ok() || !*got) {
      ADD_FAILURE() << "no recording";
      return {};
    }
    return **got;
  }
  void expect_refused(ErrorCode code, const std::string& words) {
    auto got = read();
    ASSERT_FALSE(got.ok()) << "accepted; expected: " << words;
    EXPECT_EQ(got.error().code(), code) << got.error().message();
    EXPECT_THAT(got.error().message(), HasSubstr(words));
  }
  // The first sectors of chunk 1 of the first region have been encrypted, or are still.
  static constexpr std::uint64_t kCutChunk = kRegion + kChunk;
  void cut_conversion(unsigned slot, std::uint64_t sequence, unsigned encrypted_sectors) {
    ByteVector ciphertext = test::random_bytes(kChunk, 99);
    std::copy_n(ciphertext.begin(), std::size_t{encrypted_sectors} * 512,
                image_.begin() + static_cast<std::ptrdiff_t>(kCutChunk));
    writer_.put_slot(spec_, spec_.regions[0].log_at, slot, sequence, kCutChunk, ciphertext);
  }
  std::uint64_t slot(unsigned index) const {
    return EowWriter::slot_at(spec_, spec_.regions[0].log_at, index);
  }
  std::uint64_t record(unsigned index) const {
    return spec_.regions[0].bitmap_at +
           (index == 0 ? EowWriter::kFirstRecord : EowWriter::kSecondRecord);
  }
  void spoil(std::uint64_t at) { image_[at] ^= std::byte{0x40}; }

  EowSpec spec_;
  ByteVector image_ = test::random_bytes(2048 * kKib, 7);
  EowWriter writer_{image_};
  engine::Notices notices_;
};

const VolumeRange kTwoChunks{kRegion + kChunk, 2 * kChunk};
const VolumeRange kShortChunk{kRegion + 4 * kChunk, 10 * kKib};
const VolumeRange kRelocated{512 * kKib, 8 * kKib};

TEST_F(EowTest, BitsBecomeRanges) {
  const EowState got = state();
  EXPECT_THAT(got.plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
  EXPECT_THAT(got.covered, ElementsAre(VolumeRange{kRegion, 4 * kChunk + 10 * kKib}, kRelocated));
  EXPECT_EQ(got.covered_bytes, 4 * kChunk + 18 * kKib);
  EXPECT_EQ(got.encrypted_bytes, 2 * kChunk);
  EXPECT_THAT(notices_.items(), IsEmpty());
}

TEST_F(EowTest, EveryPartOfTheRecordingIsHidden) {
  const std::uint64_t log = spec_.log_bytes();
  EXPECT_THAT(state().hidden,
              ElementsAre(VolumeRange{1024 * kKib, 512}, VolumeRange{1028 * kKib, 1536},
                          VolumeRange{1032 * kKib, 1536}, VolumeRange{1040 * kKib, log},
                          VolumeRange{1060 * kKib, log}, VolumeRange{1100 * kKib, 512}));
}

TEST_F(EowTest, NoSignatureMeansNoRecording) {
  image_ = ByteVector(2048 * kKib);
  auto got = read();
  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->has_value());
  spec_.places = {~0ULL, 4096 * kKib};  // places that are not on the volume
  got = read();
  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->has_value());
}

TEST_F(EowTest, OneSoundCopyIsEnough) {
  for (const unsigned spoilt : {0U, 1U}) {
    writer_.put_all(spec_);
    spoil(spec_.places[spoilt] + 24);
    EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
    ASSERT_EQ(notices_.items().size(), 1U);
    EXPECT_THAT(notices_.items()[0].text, HasSubstr("its checksum is wrong"));
    writer_.put(spec_.places[spoilt], 0, 8);
    EXPECT_EQ(state().hidden.size(), 6U) << "the place stays its own";
    EXPECT_THAT(notices_.items()[0].text, HasSubstr("there is none at byte"));
  }
}

TEST_F(EowTest, TwoSpoiltCopiesAreDamage) {
  spoil(spec_.places[0] + 40);
  spoil(spec_.places[1] + 56);
  expect_refused(ErrorCode::kDamaged, "conversion record at byte");
}

TEST_F(EowTest, TheRecordWithTheHighestSequenceCounts) {
  writer_.put_record(record(0), 7, {false, true, true, true, true});
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kRegion, kChunk}, kRelocated));
}

TEST_F(EowTest, ASpoiltOlderRecordDoesNotMatter) {
  spoil(record(0) + 36);
  EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
  writer_.put(record(0), 0, 8);  // never written
  EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
}

// Without a log in use nothing explains it, and a bit that was set in it is lost.
TEST_F(EowTest, ASpoiltNewerRecordIsRefusedUnlessALogExplainsIt) {
  spoil(record(1) + 36);
  expect_refused(ErrorCode::kDamaged, "newest record");
  writer_.put_record(record(0), 5, spec_.regions[0].bits);
  cut_conversion(0, 3, 128);
  EXPECT_THAT(state().plain,
              ElementsAre(VolumeRange{kRegion + 2 * kChunk, kChunk}, kShortChunk, kRelocated));
}

TEST_F(EowTest, TwoSpoiltRecordsAreDamage) {
  spoil(record(0) + 36);
  spoil(record(1) + 36);
  expect_refused(ErrorCode::kDamaged, "both records");
}

TEST_F(EowTest, RecordsOfOneSequenceMustAgree) {
  writer_.put_record(record(0), 6, spec_.regions[0].bits);
  EXPECT_TRUE(read().ok());
  image_[record(0) + 36] ^= std::byte{0xe0};  // behind the last bit
  writer_.seal_record(record(0));
  EXPECT_TRUE(read().ok());
  writer_.put_record(record(0), 6, {true, true, true, true, true});
  expect_refused(ErrorCode::kDamaged, "equally new");
}

TEST_F(EowTest, EachCopyMayHaveBitmapsOfItsOwn) {
  EowSpec second = spec_;
  second.regions[0].bitmap_at = 1110 * kKib;
  second.regions[1].bitmap_at = 1114 * kKib;
  for (const std::size_t i : {0U, 1U}) {
    writer_.put_bitmap(second, i);
    writer_.put_record(second.regions[i].bitmap_at + 512, 5, second.regions[i].bits);
  }
  writer_.put_record(second.regions[0].bitmap_at + 1024, 7, {true, true, true, true, true});
  writer_.put_record(second.regions[1].bitmap_at + 1024, 6, {false});
  writer_.put_information(second, spec_.places[1]);
  EXPECT_THAT(state().plain, ElementsAre(kRelocated));
  EXPECT_EQ(state().hidden.size(), 8U);
  writer_.put_record(second.regions[1].bitmap_at + 1024, 6, {true});
  expect_refused(ErrorCode::kDamaged, "as new as the one of the other copy");
  writer_.put(second.regions[1].bitmap_at + 20, 520 * kKib, 8);
  writer_.seal_bitmap(second.regions[1].bitmap_at);
  expect_refused(ErrorCode::kDamaged, "contradicts the one of the other copy");
}

// A volume cut short in the middle of a region: what is there is told.
TEST_F(EowTest, RegionsMayEndBehindTheEndOfAShortFile) {
  spec_.regions[1].offset = 2040 * kKib;
  spec_.regions[1].length = 3 * kChunk;
  spec_.regions[1].bits = {true, false, true};
  writer_.put_all(spec_);
  EXPECT_THAT(state().plain,
              ElementsAre(kTwoChunks, kShortChunk, VolumeRange{2040 * kKib + kChunk, kChunk}));
}

// The chunk was cut while being encrypted, or decrypted: both leave the same.
TEST_F(EowTest, ALoggedChunkIsSettledSectorBySector) {
  cut_conversion(0, 3, 50);
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kCutChunk + 50 * 512, 2 * kChunk - 50 * 512},
                                         kShortChunk, kRelocated));
  ASSERT_EQ(notices_.items().size(), 1U);
  EXPECT_THAT(notices_.items()[0].text, HasSubstr("25600 of its 65536 bytes are encrypted"));
  // The bit says that it was ciphertext before.
  writer_.put_record(record(1), 6, {true, true, false, true, false});
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kCutChunk + 50 * 512, 2 * kChunk - 50 * 512},
                                         kShortChunk, kRelocated));
  // Decryption from the back, with a hole: every sector speaks for itself.
  spoil(kCutChunk + 10 * 512);
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kCutChunk + 10 * 512, 512},
                                         VolumeRange{kCutChunk + 50 * 512, 2 * kChunk - 50 * 512},
                                         kShortChunk, kRelocated));
}

TEST_F(EowTest, OnlyTheNewestSlotCounts) {
  cut_conversion(0, 1, 50);  // older than the empty one
  EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
  cut_conversion(1, 9, 128);
  EXPECT_THAT(state().plain,
              ElementsAre(VolumeRange{kRegion + 2 * kChunk, kChunk}, kShortChunk, kRelocated));
}

TEST_F(EowTest, ASlotThatWasNotWrittenToItsEndSaysNothingHasBegun) {
  const ByteVector before = image_;
  const std::uint64_t copy = spec_.slot_bytes() - 512;
  for (const std::uint64_t at : {slot(0) + 4, slot(0) + copy + 4, slot(0) + 600}) {
    image_ = before;
    cut_conversion(0, 3, 0);
    spoil(at);
    EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated)) << at;
  }
}

TEST_F(EowTest, ASlotThatCannotBeReadIsRefused) {
  spoil(slot(0) + 4);
  spoil(slot(0) + spec_.slot_bytes() - 512 + 4);
  expect_refused(ErrorCode::kDamaged, "slot 0 is damaged");
}

TEST_F(EowTest, AnIncompleteSlotAfterOneInUseIsRefused) {
  cut_conversion(1, 4, 50);
  cut_conversion(0, 5, 50);
  spoil(slot(0) + 600);
  expect_refused(ErrorCode::kDamaged, "still logs a chunk");
}

TEST_F(EowTest, SlotsOfOneSequenceAreRefusedUnlessBothAreEmpty) {
  writer_.put_slot(spec_, spec_.regions[0].log_at, 0, 2, 0, {});
  EXPECT_TRUE(read().ok());
  cut_conversion(0, 2, 50);
  expect_refused(ErrorCode::kDamaged, "equally new");
}

TEST_F(EowTest, ALogThatWasNeverUsedIsClean) {
  std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(spec_.regions[0].log_at),
              spec_.log_bytes(), std::byte{0});
  EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
}

TEST_F(EowTest, OneHeaderOfALogIsEnough) {
  spoil(spec_.regions[0].log_at);
  EXPECT_TRUE(read().ok());
  spoil(spec_.regions[0].log_at + spec_.log_bytes() - 512);
  expect_refused(ErrorCode::kDamaged, "no header");
}

TEST_F(EowTest, RegionsMayShareALog) {
  spec_.regions[1].log_at = spec_.regions[0].log_at;
  writer_.put_all(spec_);
  cut_conversion(0, 3, 128);
  EXPECT_THAT(state().plain,
              ElementsAre(VolumeRange{kRegion + 2 * kChunk, kChunk}, kShortChunk, kRelocated));
  EXPECT_EQ(state().hidden.size(), 5U);
}

TEST_F(EowTest, SectorsOf4096) {
  spec_.sector_bytes = 4096;
  spec_.regions[0].length = 4 * kChunk + 12 * kKib;
  writer_.put_all(spec_);
  for (const VolumeRange& range : state().hidden) {
    EXPECT_EQ(range.offset % 4096, 0U);
    EXPECT_EQ(range.length % 4096, 0U);
  }
  cut_conversion(0, 3, 48);
  EXPECT_THAT(state().plain.front(), (VolumeRange{kCutChunk + 48 * 512, 2 * kChunk - 48 * 512}));
  cut_conversion(0, 3, 49);
  expect_refused(ErrorCode::kNotSupported, "in part converted");
}

// Each case changes one number of a valid recording and makes the sums right again.
struct Hostile {
  const char* name;
  enum class Where { kInformation, kBitmap, kRecord, kSlot } where;
  std::uint64_t at;
  std::uint64_t value;
  unsigned bytes;
  ErrorCode code;
  const char* words;
};

class HostileEow : public EowTest, public ::testing::WithParamInterface<Hostile> {};

TEST_P(HostileEow, IsRefused) {
  const Hostile& hostile = GetParam();
  switch (hostile.where) {
    case Hostile::Where::kInformation:
      for (const std::uint64_t place : spec_.places) {
        writer_.put(place + hostile.at, hostile.value, hostile.bytes);
        if (hostile.at != 10) writer_.seal_information(place);
      }
      break;
    case Hostile::Where::kBitmap: {
      const std::uint64_t at = spec_.regions[0].bitmap_at;
      writer_.put(at + hostile.at, hostile.value, hostile.bytes);
      if (hostile.at != 44) writer_.seal_bitmap(at);
      break;
    }
    case Hostile::Where::kRecord:
      writer_.put(record(1) + hostile.at, hostile.value, hostile.bytes);
      writer_.seal_record(record(1));
      break;
    case Hostile::Where::kSlot:
      cut_conversion(0, 3, 50);
      writer_.put(slot(0) + hostile.at, hostile.value, hostile.bytes);
      writer_.seal_slot(slot(0));
      std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(slot(0)), 32,
                  image_.begin() + static_cast<std::ptrdiff_t>(slot(0)) + spec_.slot_bytes() - 512);
      break;
  }
  expect_refused(hostile.code, hostile.words);
}

using Where = Hostile::Where;
constexpr ErrorCode kBad = ErrorCode::kDamaged;
constexpr ErrorCode kNew = ErrorCode::kNotSupported;

INSTANTIATE_TEST_SUITE_P(
    Fields, HostileEow,
    ::testing::Values(
        Hostile{"InfoHeader", Where::kInformation, 8, 64, 2, kNew, "64 bytes, not 56"},
        Hostile{"InfoSizeSmall", Where::kInformation, 10, 55, 2, kBad, "55 bytes"},
        Hostile{"InfoSizeHuge", Where::kInformation, 10, 65535, 2, kBad, "checksum"},
        Hostile{"InfoSector0", Where::kInformation, 12, 0, 4, kBad, "sectors cannot"},
        Hostile{"InfoSectorOther", Where::kInformation, 12, 4096, 4, kBad, "the volume's have"},
        Hostile{"InfoSectorOdd", Where::kInformation, 12, 520, 4, kBad, "sectors cannot"},
        Hostile{"InfoChunk0", Where::kInformation, 20, 0, 4, kBad, "chunks cannot"},
        Hostile{"InfoChunkOdd", Where::kInformation, 20, 65000, 4, kBad, "chunks cannot"},
        Hostile{"InfoChunkHuge", Where::kInformation, 20, 0x80000000, 4, kBad, "chunks cannot"},
        Hostile{"InfoChunkTiny", Where::kInformation, 20, 512, 4, kBad, "5 bits for a region"},
        Hostile{"InfoLogHuge", Where::kInformation, 24, 0xffffffff, 4, kBad, "logs cannot"},
        Hostile{"InfoLogSmall", Where::kInformation, 24, 512, 4, kNew, "layout"},
        Hostile{"InfoSlot0", Where::kInformation, 28, 0, 4, kNew, "layout"},
        Hostile{"InfoSlotHuge", Where::kInformation, 28, 0xfffffe00, 4, kNew, "layout"},
        Hostile{"InfoNoRegions", Where::kInformation, 32, 0, 4, kBad, "0 regions"},
        Hostile{"InfoManyRegions", Where::kInformation, 32, 0xffffffff, 4, kBad, "regions"},
        Hostile{"InfoElsewhere", Where::kInformation, 40, 4096, 8, kBad, "lie at bytes 4096"},
        Hostile{"InfoBitmapTwice", Where::kInformation, 64, 1028 * kKib, 8, kBad, "twice"},
        Hostile{"InfoBitmapOutside", Where::kInformation, 56, ~0ULL, 8, kBad, "beyond the end"},
        Hostile{"InfoBitmapNowhere", Where::kInformation, 56, 4096, 8, kBad, "no signature"},
        Hostile{"BitmapHeader", Where::kBitmap, 10, 61, 2, kNew, "61 bytes, not 60"},
        Hostile{"BitmapSizeSmall", Where::kBitmap, 12, 59, 4, kBad, "59 bytes"},
        Hostile{"BitmapSizeHuge", Where::kBitmap, 12, 0xffffffff, 4, kBad, "its size"},
        Hostile{"BitmapSizeShort", Where::kBitmap, 12, 1535, 4, kBad, "do not fit"},
        Hostile{"BitmapNoRegion", Where::kBitmap, 28, 0, 8, kBad, "its region"},
        Hostile{"BitmapRegionWraps", Where::kBitmap, 28, ~0ULL, 8, kBad, "its region"},
        Hostile{"BitmapRegionFar", Where::kBitmap, 20, ~0ULL - 511, 8, kBad, "its region"},
        Hostile{"BitmapRegionOdd", Where::kBitmap, 20, 8193, 8, kBad, "whole sectors"},
        Hostile{"BitmapRegionHuge", Where::kBitmap, 28, 1ULL << 40, 8, kBad, "5 bits"},
        Hostile{"BitmapRegionsOverlap", Where::kBitmap, 20, 500 * kKib, 8, kBad, "overlap"},
        Hostile{"BitmapLogAtStart", Where::kBitmap, 36, 0, 8, kBad, "cannot lie at byte 0"},
        Hostile{"BitmapLogOdd", Where::kBitmap, 36, 1040 * kKib + 1, 8, kBad, "cannot lie"},
        Hostile{"BitmapLogFar", Where::kBitmap, 36, ~0ULL - 511, 8, kBad, "cannot lie"},
        Hostile{"BitmapLogOutside", Where::kBitmap, 36, 1ULL << 40, 8, kBad, "beyond the end"},
        Hostile{"BitmapLogOverBitmap", Where::kBitmap, 36, 1028 * kKib + 512, 8, kBad, "overlap"},
        Hostile{"BitmapLogOverInformation", Where::kBitmap, 36, 1020 * kKib, 8, kBad, "overlap"},
        Hostile{"BitmapFirstRecordOutside", Where::kBitmap, 44, 0xffffffff, 4, kBad, "checksum"},
        Hostile{"BitmapFirstRecordInHeader", Where::kBitmap, 44, 10, 4, kBad, "checksum"},
        Hostile{"BitmapSecondRecordOutside", Where::kBitmap, 48, 1025, 4, kBad, "do not fit"},
        Hostile{"BitmapSecondRecordFar", Where::kBitmap, 48, 0xffffffff, 4, kBad, "do not fit"},
        Hostile{"BitmapRecordsOverlap", Where::kBitmap, 48, 1023, 4, kBad, "do not fit"},
        Hostile{"BitmapRecordSize0", Where::kBitmap, 52, 0, 4, kBad, "do not fit"},
        Hostile{"BitmapRecordSizeHuge", Where::kBitmap, 52, 0xffffffff, 4, kBad, "do not fit"},
        Hostile{"RecordHeader", Where::kRecord, 10, 40, 2, kNew, "unknown form"},
        Hostile{"RecordSizeHuge", Where::kRecord, 12, 0xffffffff, 4, kBad, "newest record"},
        Hostile{"RecordSizeSmall", Where::kRecord, 12, 35, 4, kBad, "newest record"},
        Hostile{"RecordTooManyBits", Where::kRecord, 16, 0xffffffff, 4, kBad, "do not fit"},
        Hostile{"RecordTooFewBits", Where::kRecord, 16, 4, 4, kBad, "4 bits"},
        Hostile{"SlotForm", Where::kSlot, 0, 33, 2, kNew, "unknown form"},
        Hostile{"SlotVersion", Where::kSlot, 2, 2, 2, kNew, "unknown form"},
        Hostile{"SlotChunkOutside", Where::kSlot, 12, 1ULL << 50, 8, kBad, "outside the volume"},
        Hostile{"SlotChunkOdd", Where::kSlot, 12, kRegion + kChunk + 1, 8, kBad, "cannot be true"},
        Hostile{"SlotChunkElsewhere", Where::kSlot, 12, 600 * kKib, 8, kBad, "no region"},
        Hostile{"SlotDataHuge", Where::kSlot, 20, 0xffffffff, 4, kBad, "cannot hold"}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

TEST_F(EowTest, TwoLogsMayNotNameOneChunk) {
  spec_.regions[1] = {kRegion + 4 * kChunk + 10 * kKib, kChunk, {true}, 1032 * kKib, 1060 * kKib};
  writer_.put_all(spec_);
  const ByteVector ciphertext = test::random_bytes(kChunk, 1);
  writer_.put_slot(spec_, spec_.regions[0].log_at, 0, 3, kCutChunk, ciphertext);
  writer_.put_slot(spec_, spec_.regions[1].log_at, 0, 3, kCutChunk, ciphertext);
  expect_refused(ErrorCode::kDamaged, "no region of its own");
}

// Every truncation of the volume is an answer, not a crash.
TEST_F(EowTest, CutVolumes) {
  const ByteVector whole = image_;
  for (std::size_t size = 1024 * kKib; size < 1101 * kKib; size += 128) {
    image_.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto got = read();
    if (!got.ok()) {
      EXPECT_EQ(got.error().code(), ErrorCode::kDamaged) << size;
    }
  }
}

TEST(EowCorpus, VolumesWithoutARecordingAreFullyEncrypted) {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  for (const char* name : {"partially-encrypted-aes-cbc-128.img", "aes-xts-128-eow.img"}) {
    const auto path = std::filesystem::path(folder != nullptr ? folder : "") / "bitlocker" / name;
    if (folder == nullptr || !std::filesystem::exists(path)) {
      GTEST_SKIP() << "LATCHKEY_CORPUS does not name a folder with bitlocker/" << name;
    }
    engine::Notices notices;
    auto device = engine::FileDevice::open(path.string(), engine::Access::kReadOnly, notices);
    ASSERT_TRUE(device.ok()) << device.error().message();
    ByteVector boot(512);
    ASSERT_TRUE((*device)->read(0, boot).ok());
    // Behind the identifier and three places of the metadata.
    const std::array<std::uint64_t, 2> places{engine::load_le<std::uint64_t>(boot, 160 + 40),
                                              engine::load_le<std::uint64_t>(boot, 160 + 48)};
    ASSERT_EQ(places[0], 35352576U);
    const auto got = read_eow(**device, places, 512, notices);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_FALSE(got->has_value());
  }
}

}  // namespace
}  // namespace latchkey::keyslots
