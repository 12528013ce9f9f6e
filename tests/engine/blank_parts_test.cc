// Parts that read as zeros and take zeros only (Placement::kBlank): BitLocker's metadata as the
// volume's user sees it.
#include <memory>

#include <gtest/gtest.h>

#include "engine/crypt_device.h"
#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "engine/piece_map.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::random_bytes;

std::shared_ptr<MemoryDevice> memory(const ByteVector& bytes) {
  return std::make_shared<MemoryDevice>(bytes, true);
}

DevicePtr mapped(std::vector<DevicePtr> below, std::unique_ptr<PieceMap> map) {
  const Geometry geometry{map->size_bytes(), 512, true};
  return std::make_shared<MapDevice>(std::move(below), std::move(map), geometry);
}

// 0..100 data, 100..200 blank, 200..300 data; alone, and seen through another map that begins 50
// bytes before it and follows it with data of its own.
class BlankParts : public ::testing::TestWithParam<bool> {
 protected:
  BlankParts() {
    auto map = std::make_unique<PieceMap>();
    map->data(0, 0, 100).blank(100).data(0, 200, 100);
    device_ = mapped({storage_}, std::move(map));
    if (GetParam()) {
      auto outer = std::make_unique<PieceMap>();
      outer->data(0, 0, 50).data(1, 0, 300).data(0, 50, 50);
      device_ = mapped({around_, device_}, std::move(outer));
      base_ = 50;
    }
  }
  void expect_unchanged() const {
    EXPECT_EQ(storage_->copy_bytes(), before_);
    EXPECT_EQ(around_->copy_bytes(), around_before_);
  }
  static ByteVector nonzero(std::size_t size) { return ByteVector(size, std::byte{0xee}); }

  const ByteVector before_ = random_bytes(300, 1);
  const ByteVector around_before_ = random_bytes(100, 2);
  std::shared_ptr<MemoryDevice> storage_ = memory(before_);
  std::shared_ptr<MemoryDevice> around_ = memory(around_before_);
  DevicePtr device_;
  std::uint64_t base_ = 0;
};

TEST_P(BlankParts, ReadAsZeros) {
  ByteVector got(300);
  ASSERT_TRUE(device_->read(base_, got).ok());
  ByteVector expected = before_;
  std::fill_n(expected.begin() + 100, 100, std::byte{0});
  EXPECT_EQ(got, expected);
  const Extent extent = device_->extent_at(base_ + 130, 100);
  EXPECT_EQ(extent.length, 70U);
  EXPECT_TRUE(extent.reads_as_zero);
  EXPECT_FALSE(extent.allocated);
}

TEST_P(BlankParts, TakeZerosWithoutEffect) {
  EXPECT_TRUE(device_->write(base_ + 100, ByteVector(100)).ok());
  EXPECT_TRUE(device_->write(base_ + 150, ByteVector(1)).ok());
  EXPECT_TRUE(device_->write_zeroes(base_ + 120, 10).ok());
  EXPECT_TRUE(device_->write_zeroes(base_ + 120, 10, WriteFlags::kNoHole).ok());
  EXPECT_TRUE(device_->write_zeroes(base_ + 120, 10, WriteFlags::kFastZero).ok());
  EXPECT_TRUE(device_->discard(base_ + 100, 100).ok());
  expect_unchanged();
}

TEST_P(BlankParts, TakeNothingElse) {
  EXPECT_EQ(device_->write(base_ + 100, nonzero(100)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device_->write(base_ + 100, nonzero(100)).sys_errno(), EPERM);
  for (const std::size_t at : {0U, 1U, 50U, 99U}) {
    ByteVector bytes(100);
    bytes[at] = std::byte{1};
    EXPECT_EQ(device_->write(base_ + 100, bytes).code(), IoCode::kOnlyZeros) << at;
  }
  expect_unchanged();
}

// One byte too many at either side is enough, and nothing of the rest may have been written.
TEST_P(BlankParts, ARefusedWriteChangesNothingAround) {
  EXPECT_EQ(device_->write(base_, nonzero(101)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device_->write(base_ + 199, nonzero(101)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device_->write(base_, nonzero(300)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device_->write(0, nonzero(device_->size_bytes())).code(), IoCode::kOnlyZeros);
  expect_unchanged();
}

// A copy of the device as it reads goes back in: zeros where it is blank, data around.
TEST_P(BlankParts, DataAroundZerosIsWritten) {
  ByteVector bytes = random_bytes(300, 3);
  std::fill_n(bytes.begin() + 100, 100, std::byte{0});
  ASSERT_TRUE(device_->write(base_, bytes).ok());
  ByteVector expected = bytes;
  std::copy_n(before_.begin() + 100, 100, expected.begin() + 100);
  EXPECT_EQ(storage_->copy_bytes(), expected);
}

TEST_P(BlankParts, ZeroingARangePassesOverThem) {
  ASSERT_TRUE(device_->write_zeroes(base_ + 50, 200).ok());
  ByteVector expected = before_;
  std::fill_n(expected.begin() + 50, 50, std::byte{0});
  std::fill_n(expected.begin() + 200, 50, std::byte{0});
  EXPECT_EQ(storage_->copy_bytes(), expected);
}

TEST_P(BlankParts, ChecksSayWhatTheWriteWould) {
  EXPECT_TRUE(device_->check_write(base_, 100).ok());
  EXPECT_EQ(device_->check_write(base_, 101).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device_->check_write(base_ + 199, 1).code(), IoCode::kOnlyZeros);
  EXPECT_TRUE(device_->check_write(base_ + 200, 100).ok());
  EXPECT_TRUE(device_->check_write(base_ + 90, ByteVector(120)).ok());
  EXPECT_EQ(device_->check_write(base_ + 90, nonzero(120)).code(), IoCode::kOnlyZeros);
  EXPECT_TRUE(device_->check_write_zeroes(base_, 300).ok());
  EXPECT_EQ(device_->check_write_zeroes(base_, 1000).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device_->check_write(~0ULL, nonzero(2)).code(), IoCode::kOutOfRange);
  EXPECT_TRUE(device_->check_write(base_ + 150, ByteVector()).ok());
  expect_unchanged();
}

INSTANTIATE_TEST_SUITE_P(Maps, BlankParts, ::testing::Bool(), [](const auto& nested) {
  return std::string(nested.param ? "Nested" : "Alone");
});

// A part that takes nothing at all is the stronger reason, also where it comes later.
TEST(BlankPart, SealedComesFirst) {
  auto storage = memory(ByteVector(300, std::byte{7}));
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, 100).blank(100).zeros(100);
  const DevicePtr device = mapped({storage}, std::move(map));
  EXPECT_EQ(device->check_write(50, 250).code(), IoCode::kSealed);
  EXPECT_EQ(device->check_write(50, 150).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(device->write(50, ByteVector(200)).code(), IoCode::kSealed);
  EXPECT_EQ(device->write_zeroes(50, 200).code(), IoCode::kSealed);
  EXPECT_EQ(device->discard(50, 200).code(), IoCode::kSealed);
  EXPECT_EQ(storage->copy_bytes(), ByteVector(300, std::byte{7}));
}

TEST(BlankPart, AReadOnlyDeviceStaysReadOnly) {
  auto map = std::make_unique<PieceMap>();
  map->blank(300);
  MapDevice device({}, std::move(map), {300, 512, false});
  EXPECT_EQ(device.write(0, ByteVector(10)).code(), IoCode::kReadOnly);
  EXPECT_EQ(device.check_write(0, ByteVector(10)).code(), IoCode::kReadOnly);
  EXPECT_EQ(device.check_write_zeroes(0, 10).code(), IoCode::kReadOnly);
}

// Zeros above a cipher are not zeros below it.
TEST(BlankPart, BelowACipherTakesNoZerosFromAbove) {
  constexpr std::size_t kSize = 64 * 1024;
  auto storage = memory(random_bytes(kSize, 5));
  const ByteVector before = storage->copy_bytes();
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, 32 * 1024).blank(4096).data(0, 36 * 1024, 28 * 1024);
  auto spec = parse_cipher_spec("aes-xts-plain64");
  auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(random_bytes(64, 42)));
  const DevicePtr plain =
      make_crypt_layer(mapped({storage}, std::move(map)), 0, kSize, std::move(*cipher));
  EXPECT_EQ(plain->write(30 * 1024, ByteVector(8192)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(plain->write_zeroes(0, kSize).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(plain->check_write(30 * 1024, ByteVector(8192)).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(plain->check_write_zeroes(0, kSize).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(storage->copy_bytes(), before);
  EXPECT_TRUE(plain->write(0, ByteVector(32 * 1024)).ok());
}

// The map over crypt layers that a BitLocker volume is: relocated start, hidden areas, data.
TEST(BlankPart, BesideACipheredPart) {
  constexpr std::size_t kSize = 64 * 1024;
  auto storage = memory(random_bytes(kSize, 6));
  const ByteVector before = storage->copy_bytes();
  auto spec = parse_cipher_spec("aes-cbc-elephant");
  auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(random_bytes(32, 42)));
  const DevicePtr layer = make_crypt_layer(storage, 0, kSize, std::move(*cipher));
  auto map = std::make_unique<PieceMap>();
  map->data(0, 40 * 1024, 8192).data(0, 8192, 24 * 1024).blank(16 * 1024);
  const std::uint64_t rest = map->size_bytes();
  map->data(0, rest, kSize - rest);
  const DevicePtr volume = mapped({layer}, std::move(map));
  EXPECT_EQ(volume->write(30 * 1024, ByteVector(4096, std::byte{1})).code(), IoCode::kOnlyZeros);
  EXPECT_EQ(storage->copy_bytes(), before);
  ByteVector image(kSize);
  ASSERT_TRUE(volume->read(0, image).ok());
  ASSERT_TRUE(volume->write(0, image).ok());
  EXPECT_EQ(storage->copy_bytes(), before) << "the same plaintext makes the same ciphertext";
  ASSERT_TRUE(volume->write_zeroes(0, kSize).ok());
  ByteVector zeros(kSize, std::byte{1});
  ASSERT_TRUE(volume->read(0, zeros).ok());
  EXPECT_EQ(zeros, ByteVector(kSize));
  const ByteVector after = storage->copy_bytes();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 8192, after.begin()));
  EXPECT_TRUE(std::equal(before.begin() + 32 * 1024, before.begin() + 40 * 1024,
                         after.begin() + 32 * 1024));
}

}  // namespace
}  // namespace latchkey::engine
