// Encrypt-on-write recordings: what their bits, records and logs come to, and the ones that are
// refused. The volumes of the corpus name such recordings and hold none: their makers' Windows had
// finished, or they were blanked.
#include <cstdlib>
#include <filesystem>

#include "engine/file_device.h"
#include "tests/keyslots/eow_fixture.h"

namespace latchkey::keyslots {
namespace {

using engine::ErrorCode;
using test::ByteVector;
using test::EowSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

// Without a log in use nothing explains it, and a bit that was set in it is lost: that is told.
TEST_F(EowTest, ASpoiltNewerRecordIsToldOfUnlessALogExplainsIt) {
  writer_.put_record(record(0), 5, {false, true, true, true, true});
  spoil(record(1) + 36);
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kRegion, kChunk}, kRelocated));
  ASSERT_EQ(notices_.items().size(), 1U);
  EXPECT_EQ(notices_.items()[0].severity, engine::Notice::Severity::kWarning);
  EXPECT_THAT(notices_.items()[0].text, HasSubstr("newest record"));
  writer_.put_record(record(0), 5, spec_.regions[0].bits);
  cut_conversion(0, 3, 128);
  EXPECT_THAT(state().plain,
              ElementsAre(VolumeRange{kRegion + 2 * kChunk, kChunk}, kShortChunk, kRelocated));
  ASSERT_EQ(notices_.items().size(), 1U);
  EXPECT_THAT(notices_.items()[0].where, HasSubstr("conversion log"));
}

TEST_F(EowTest, ANewestRecordThatLostItsSignatureIsToldOf) {
  writer_.put_record(record(0), 5, {false, true, true, true, true});
  spoil(record(1));
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kRegion, kChunk}, kRelocated));
  ASSERT_EQ(notices_.items().size(), 1U);
  EXPECT_THAT(notices_.items()[0].text, HasSubstr("newest record"));
}

TEST_F(EowTest, ARecordOfASizeThatCannotBeIsASpoiltOne) {
  for (const std::uint64_t size : {0ULL, 35ULL, 513ULL, 0xffffffffULL}) {
    writer_.put_record(record(0), 5, spec_.regions[0].bits);
    writer_.put_record(record(1), 6, {false, true, true, true, true});
    writer_.put(record(1) + 12, size, 4);
    writer_.seal_record(record(1));
    EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated)) << size;
    EXPECT_EQ(notices_.items().size(), 1U);
  }
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

// What it logs is all there: it says of each sector what it is, whether the chunk was touched or
// not.
TEST_F(EowTest, ACutSlotThatHasAllItLogsIsSettled) {
  cut_conversion(0, 3, 50);
  spoil(slot(0) + spec_.slot_bytes() - 512 + 4);
  EXPECT_THAT(state().plain, ElementsAre(VolumeRange{kCutChunk + 50 * 512, 2 * kChunk - 50 * 512},
                                         kShortChunk, kRelocated));
}

TEST_F(EowTest, AWholeSlotWithoutWhatItLogsIsToldOf) {
  cut_conversion(0, 3, 50);
  spoil(slot(0) + 600);
  EXPECT_THAT(state().plain, ElementsAre(kTwoChunks, kShortChunk, kRelocated));
  ASSERT_EQ(notices_.items().size(), 1U);
  EXPECT_THAT(notices_.items()[0].text, HasSubstr("if it was damaged later"));
}

// The chunk was done, and the power went while that was being noted.
TEST_F(EowTest, AnEmptySlotThatWasCutLeavesTheChunkBeforeItDone) {
  cut_conversion(1, 4, 128);
  writer_.put_slot(spec_, spec_.regions[0].log_at, 0, 5, 0, {});
  spoil(slot(0) + spec_.slot_bytes() - 512 + 4);
  EXPECT_THAT(state().plain,
              ElementsAre(VolumeRange{kRegion + 2 * kChunk, kChunk}, kShortChunk, kRelocated));
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
