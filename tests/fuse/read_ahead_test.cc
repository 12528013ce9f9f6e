// What is read ahead is what the device holds, in whatever order it is asked for.
#include "frontends/fuse/read_ahead.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/memory_device.h"
#include "tests/support/fault_device.h"
#include "tests/support/test_bytes.h"

namespace latchkey::frontends {
namespace {

using test::ByteVector;

constexpr std::size_t kPiece = std::size_t{128} * 1024;
constexpr std::size_t kSize = 40 * kPiece + 777;

class ReadAheadTest : public ::testing::Test {
 protected:
  bool reads_right(std::uint64_t offset, std::size_t length, TransferBuffer& buffer) {
    length = std::min<std::size_t>(length, kSize - offset);
    return ahead_.read(*device_, offset, length, buffer).ok() &&
           std::ranges::equal(buffer.span().first(length),
                              std::span(bytes_).subspan(offset, length));
  }

  const std::uint64_t seed_ = test::test_seed();
  const ByteVector bytes_ = test::random_bytes(kSize, seed_);
  const std::shared_ptr<test::FaultDevice> device_ =
      std::make_shared<test::FaultDevice>(std::make_shared<engine::MemoryDevice>(bytes_));
  ReadAhead ahead_;
  TransferBuffer buffer_;
};

TEST_F(ReadAheadTest, AStreamToItsEnd) {
  for (const std::size_t length : {kPiece, std::size_t{1000}, kMaxTransferBytes}) {
    for (std::size_t at = 0; at < kSize; at += length) {
      ASSERT_TRUE(reads_right(at, length, buffer_)) << at << " of pieces of " << length;
    }
  }
}

TEST_F(ReadAheadTest, JumpsAndChangesOfLength) {
  std::uint64_t state = seed_;
  const auto next = [&](std::uint64_t most) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % most;
  };
  std::uint64_t at = 0;
  for (int i = 0; i < 2000; ++i) {
    if (next(5) == 0) at = next(kSize);
    const std::size_t length = 1 + next(next(3) == 0 ? 2 * kPiece : kPiece);
    ASSERT_TRUE(reads_right(at, length, buffer_)) << "seed " << seed_ << ", read " << i;
    at += length;
    if (at >= kSize) at = 0;
  }
}

TEST_F(ReadAheadTest, AnErrorBelongsToThePieceThatHasIt) {
  device_->bad_read_byte = 5 * kPiece + 1;
  for (std::size_t i = 0; i < 10; ++i) {
    const auto status = ahead_.read(*device_, i * kPiece, kPiece, buffer_);
    EXPECT_EQ(status.code(), i == 5 ? engine::IoCode::kFailed : engine::IoCode::kOk) << i;
  }
  device_->bad_read_byte = ~0ULL;
  EXPECT_TRUE(reads_right(5 * kPiece, kPiece, buffer_)) << "an old error was kept";
}

TEST_F(ReadAheadTest, ManyReadersOfOneStreamAndOfTheirOwn) {
  std::atomic<int> wrong{0};
  const auto read_all = [&](std::size_t first, std::size_t step) {
    TransferBuffer buffer;
    for (std::size_t i = first; i * kPiece < kSize; i += step) {
      if (!reads_right(i * kPiece, kPiece, buffer)) ++wrong;
    }
  };
  for (int round = 0; round < 20; ++round) {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 3; ++i) threads.emplace_back(read_all, i, 3);
    threads.emplace_back(read_all, 0, 1);
    threads.emplace_back(read_all, 7, 1);
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(ReadAheadTest, TwoDevicesAreNotMixedUp) {
  const ByteVector others = test::random_bytes(kSize, seed_ + 1);
  engine::MemoryDevice other{ByteVector(others)};
  for (std::size_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(reads_right(i * kPiece, kPiece, buffer_));
    ASSERT_TRUE(ahead_.read(other, i * kPiece, kPiece, buffer_).ok());
    ASSERT_TRUE(std::ranges::equal(buffer_.span().first(kPiece),
                                   std::span(others).subspan(i * kPiece, kPiece)));
  }
}

}  // namespace
}  // namespace latchkey::frontends
