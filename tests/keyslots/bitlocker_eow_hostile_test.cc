// Encrypt-on-write recordings in which one number lies.
#include "tests/keyslots/eow_fixture.h"

namespace latchkey::keyslots {
namespace {

using engine::ErrorCode;
using test::ByteVector;

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

}  // namespace
}  // namespace latchkey::keyslots
