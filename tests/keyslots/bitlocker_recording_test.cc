// Volumes whose conversion is recorded chunk by chunk (encrypt-on-write), made by a builder that
// reads the format on its own: sector for sector the bytes that were put in, or a refusal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/bitlocker_volumes.h"
#include "tests/support/bitlocker_dataset.h"

using namespace latchkey;
using namespace latchkey::test;

namespace {

constexpr std::uint32_t kWindowsChunk = 8U << 20;

FveSpec recorded(std::uint32_t chunk_bytes) {
  FveSpec spec = plain_spec();
  spec.eow_identifier = true;
  spec.recording.chunk_bytes = chunk_bytes;
  spec.seed = 5;
  return spec;
}

void expect_opens(const FveSpec& spec, const FveVolume& volume) {
  const OpenedVolume opened = open_fve(volume, true);
  ASSERT_TRUE(opened.plain) << opened.message() << "\n" << notices_of(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
  EXPECT_FALSE(opened.plain->writable());
  EXPECT_NE(opened.read_only_reason, "");
  EXPECT_NE(opened.header->facts().state, "");
  EXPECT_EQ(opened.header->facts().sector_bytes, spec.sector_bytes);
}

TEST(BitlockerRecordingTest, PlainAndCiphertextChunks) {
  for (const unsigned done : {0U, 5U, 10U}) {
    FveSpec spec = recorded(kWindowsChunk);
    spec.recording.done_of_ten = done;
    SCOPED_TRACE(done);
    const FveVolume volume = make_bitlocker(spec, ntfs_like(36 * kMebibyte, 81));
    EXPECT_EQ(volume.recorded_ciphertext > 9 * kMebibyte, done > 0);
    EXPECT_EQ(volume.recorded_ciphertext < 27 * kMebibyte, done < 10);
    expect_opens(spec, volume);
  }
}

TEST(BitlockerRecordingTest, SectorsOf4096AndOtherCiphers) {
  for (const FveMethod method : {FveMethod::kCbc128, FveMethod::kElephant256}) {
    FveSpec spec = recorded(kWindowsChunk);
    spec.sector_bytes = 4096;
    spec.method = method;
    expect_opens(spec, make_bitlocker(spec, ntfs_like(20 * kMebibyte, 82)));
  }
}

TEST(BitlockerRecordingTest, SecondCopiesCountWhereTheFirstAreBad) {
  FveSpec spec = recorded(kWindowsChunk);
  spec.recording.second_copy_only = true;
  expect_opens(spec, make_bitlocker(spec, ntfs_like(20 * kMebibyte, 83)));
}

TEST(BitlockerRecordingTest, ChunkThatWasInWork) {
  FveSpec spec = recorded(kWindowsChunk);
  spec.recording.interrupted = 2;
  expect_opens(spec, make_bitlocker(spec, ntfs_like(36 * kMebibyte, 84)));
}

class BitlockerBadRecordingTest : public ::testing::Test {
 protected:
  static const FveVolume& good() {
    static const FveVolume volume =
        make_bitlocker(recorded(kWindowsChunk), ntfs_like(12 * kMebibyte, 85));
    return volume;
  }
  // Changes a number in both copies of the information and makes their sums right.
  void change_information(std::size_t at, std::uint64_t value, unsigned bytes) {
    for (const std::uint64_t copy : volume_.eow) {
      fve_put(volume_.image, copy + at, value, bytes);
      seal(copy, 56 + 8 * 3, 36);
    }
  }
  void seal(std::uint64_t offset, std::size_t bytes, std::size_t sum_at) {
    fve_put(volume_.image, offset + sum_at, 0, 4);
    const auto begin = volume_.image.begin() + static_cast<std::ptrdiff_t>(offset);
    fve_put(volume_.image, offset + sum_at,
            fve_crc32(ByteVector(begin, begin + static_cast<std::ptrdiff_t>(bytes))), 4);
  }
  std::uint64_t bitmap(std::size_t region) const {
    return fve_get(volume_.image, volume_.eow[0] + 56 + 8 * region, 8);
  }
  void expect_refused(const char* what) {
    const OpenedVolume opened = open_fve(volume_);
    EXPECT_FALSE(opened.plain) << what;
    EXPECT_NE(opened.message(), "") << what;
    volume_ = good();
  }

  FveVolume volume_ = good();
};

TEST_F(BitlockerBadRecordingTest, IsNeverGuessedAt) {
  expect_opens(recorded(kWindowsChunk), volume_);
  for (const std::uint64_t copy : volume_.eow) volume_.image[copy + 60] ^= std::byte{1};
  expect_refused("both copies of the information are bad");
  for (const std::uint64_t chunk : {0ULL, 1ULL, 511ULL, 0xffffffffULL}) {
    change_information(20, chunk, 4);
    expect_refused("chunk size");
  }
  change_information(32, 0xffffffff, 4);
  expect_refused("regions beyond number");
  change_information(56, 0xffffffffffffff00, 8);
  expect_refused("a bitmap beyond the end");
  change_information(56, bitmap(2), 8);
  expect_refused("one bitmap twice");
  volume_.image[bitmap(2) + 20] ^= std::byte{1};
  expect_refused("a bitmap's sum");
  for (const std::size_t record : {512U, 1024U})
    volume_.image[bitmap(0) + record + 36] ^= std::byte{1};
  expect_refused("the sums of both records");
}

TEST_F(BitlockerBadRecordingTest, RegionsThatLie) {
  const auto change_bitmap = [&](std::size_t at, std::uint64_t value, unsigned bytes) {
    fve_put(volume_.image, bitmap(2) + at, value, bytes);
    seal(bitmap(2), 512, 56);
  };
  change_bitmap(20, 0, 8);
  expect_refused("a region over another");
  change_bitmap(28, std::uint64_t{1} << 62, 8);
  expect_refused("a region beyond the end");
  change_bitmap(36, 0xffffffffffff0000, 8);
  expect_refused("a log beyond the end");
  for (const std::size_t record : {512U, 1024U}) {
    fve_put(volume_.image, bitmap(2) + record + 16, 0xffffffff, 4);
    seal(bitmap(2) + record, 512, 32);
  }
  expect_refused("more bits than a record holds");
}

}  // namespace
