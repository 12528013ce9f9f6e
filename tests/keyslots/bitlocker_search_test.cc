// How much of a device is read to find out whether it is a BitLocker volume without a boot sector.
#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "keyslots/bitlocker/bitlocker_copies.h"
#include "tests/keyslots/bitlocker_volumes.h"

using namespace latchkey;
using namespace latchkey::test;

namespace {

constexpr std::uint64_t kSize = 2048 * kMebibyte;
constexpr std::uint64_t kDataFrom = 100 * kMebibyte;
constexpr std::uint64_t kDataTo = 108 * kMebibyte + 4096;

// Nothing that anybody knows: a first sector, and all the same bytes from then on, or a hole with
// an island of them.
class Unknown final : public engine::BlockDevice {
 public:
  Unknown(std::byte first, bool island)
      : BlockDevice({.size_bytes = kSize, .sector_bytes = 512, .writable = false}),
        first_(first),
        island_(island) {}
  std::uint64_t read_bytes = 0;
  mutable unsigned extents_asked = 0;

 private:
  bool hole(std::uint64_t offset) const {
    return island_ && (offset < kDataFrom || offset >= kDataTo);
  }
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    read_bytes += into.size();
    std::fill(into.begin(), into.end(), hole(offset) ? std::byte{0} : std::byte{7});
    if (offset < 512) {
      std::fill_n(into.begin(), std::min<std::uint64_t>(512 - offset, into.size()), first_);
    }
    return {};
  }
  engine::Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override {
    ++extents_asked;
    const std::uint64_t end = !island_ || offset >= kDataTo ? kSize
                              : offset < kDataFrom          ? kDataFrom
                                                            : kDataTo;
    return {std::min(end - offset, length), !hole(offset), hole(offset)};
  }
  const std::byte first_;
  const bool island_;
};

// Signatures of other things are looked for as well.
constexpr std::uint64_t kOthers = kMebibyte;

void expect_nothing(Unknown& device) {
  engine::Notices notices;
  const auto found = keyslots::find_bitlocker(device, notices);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_FALSE(found->has_value());
}

}  // namespace

TEST(BitlockerSearchTest, OfWhatIsUnknownOnlyTheBeginningIsReadAndMoreBehindAWipedSector) {
  for (const auto& [first, limit] : {std::pair(std::byte{7}, keyslots::kBitlockerGlanceBytes),
                                     std::pair(std::byte{0}, keyslots::kBitlockerSearchBytes)}) {
    Unknown device(first, false);
    expect_nothing(device);
    EXPECT_GE(device.read_bytes, limit);
    EXPECT_LE(device.read_bytes, limit + kOthers);
    EXPECT_EQ(device.extents_asked, 1U);
  }
}

TEST(BitlockerSearchTest, HolesAreNotRead) {
  Unknown device(std::byte{0}, true);
  expect_nothing(device);
  EXPECT_GE(device.read_bytes, kDataTo - kDataFrom);
  EXPECT_LE(device.read_bytes, kDataTo - kDataFrom + kMebibyte + kOthers);
  EXPECT_LE(device.extents_asked, 4U);
}
