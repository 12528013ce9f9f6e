// The devices every stack is made of: maps, the crypt layer, the aligner, range locks.
#include <latch>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "engine/crypt_device.h"
#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "engine/piece_map.h"
#include "engine/range_lock.h"
#include "engine/read_bytes.h"
#include "engine/sector_aligner.h"
#include "tests/support/fault_device.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::FaultDevice;
using test::random_bytes;

std::shared_ptr<MemoryDevice> memory(const ByteVector& bytes, bool writable = true) {
  return std::make_shared<MemoryDevice>(bytes, writable);
}

ByteVector read_all(BlockDevice& device) {
  ByteVector out(device.size_bytes());
  EXPECT_TRUE(device.read(0, out).ok());
  return out;
}

std::shared_ptr<const SectorCipher> test_cipher(std::uint32_t sector_bytes) {
  auto spec = parse_cipher_spec("aes-xts-plain64");
  spec->sector_bytes = sector_bytes;
  spec->tweak_stride = sector_bytes / 512;
  auto made = make_sector_cipher(*spec, SecretBytes::copy_of(random_bytes(64, 42)));
  return std::shared_ptr<const SectorCipher>(std::move(*made));
}

TEST(BlockDevice, ChecksRangesOnceForAll) {
  auto device = memory(ByteVector(1000));
  ByteVector buffer(10);
  EXPECT_TRUE(device->read(990, buffer).ok());
  EXPECT_EQ(device->read(991, buffer).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device->read(~0ULL, buffer).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device->write(~0ULL - 4, buffer).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device->write_zeroes(1, ~0ULL).code(), IoCode::kOutOfRange);
  EXPECT_TRUE(device->read(1000, {}).ok()) << "length 0 at the end succeeds";
  EXPECT_EQ(device->read(1001, {}).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device->extent_at(0, 0).length, 0U);
  EXPECT_EQ(memory(ByteVector(10), false)->write(0, buffer).code(), IoCode::kReadOnly);
}

TEST(BlockDevice, FuaFlushesAndFastZeroIsRefusedWhereItIsNotFast) {
  auto fault = std::make_shared<FaultDevice>(memory(ByteVector(1000)));
  const ByteVector data(10, std::byte{1});
  EXPECT_TRUE(fault->write(0, data).ok());
  EXPECT_EQ(fault->flushes, 0);
  EXPECT_TRUE(fault->write(0, data, WriteFlags::kFua).ok());
  EXPECT_EQ(fault->flushes, 1);
  EXPECT_EQ(fault->write_zeroes(0, 10, WriteFlags::kFastZero).code(), IoCode::kNotSupported);
}

TEST(PieceMap, ReadsAcrossPiecesAndZeros) {
  auto a = memory(random_bytes(100, 1));
  auto b = memory(random_bytes(100, 2));
  auto map = std::make_unique<PieceMap>();
  map->data(0, 50, 50).zeros(30).data(1, 0, 20);
  ASSERT_EQ(map->size_bytes(), 100U);
  MapDevice device({a, b}, std::move(map), {100, 512, true});
  ByteVector expected(100);
  const ByteVector from_a = a->copy_bytes();
  const ByteVector from_b = b->copy_bytes();
  std::copy_n(from_a.begin() + 50, 50, expected.begin());
  std::copy_n(from_b.begin(), 20, expected.begin() + 80);
  EXPECT_EQ(read_all(device), expected);
  const Extent zeros = device.extent_at(50, 50);
  EXPECT_EQ(zeros.length, 30U);
  EXPECT_TRUE(zeros.reads_as_zero);
  EXPECT_FALSE(zeros.allocated);
}

TEST(MapDevice, AWriteThatTouchesASealedPartChangesNothing) {
  auto a = memory(ByteVector(100));
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, 50).zeros(10).data(0, 50, 50);
  MapDevice device({a}, std::move(map), {110, 512, true});
  EXPECT_EQ(device.write(40, ByteVector(15, std::byte{9})).code(), IoCode::kSealed);
  EXPECT_EQ(device.write_zeroes(40, 15).code(), IoCode::kSealed);
  EXPECT_EQ(device.check_write(45, 10).code(), IoCode::kSealed);
  EXPECT_EQ(a->copy_bytes(), ByteVector(100));
  EXPECT_TRUE(device.write(40, ByteVector(10, std::byte{9})).ok());
}

// A refusal deep in one of several stacked maps comes before the first byte of the others.
TEST(MapDevice, ChecksDownThroughAllLayers) {
  auto writable = memory(ByteVector(100));
  auto read_only = memory(ByteVector(100), false);
  auto inner_map = std::make_unique<PieceMap>();
  inner_map->data(0, 0, 50).zeros(50);
  auto inner = std::make_shared<MapDevice>(std::vector<DevicePtr>{memory(ByteVector(50))},
                                           std::move(inner_map), Geometry{100, 512, true});
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, 100).data(1, 0, 100).data(2, 0, 100);
  MapDevice device({writable, inner, read_only}, std::move(map), {300, 512, true});
  EXPECT_EQ(device.write(90, ByteVector(100, std::byte{1})).code(), IoCode::kSealed);
  EXPECT_EQ(device.write(150, ByteVector(100, std::byte{1})).code(), IoCode::kSealed);
  EXPECT_EQ(device.write(210, ByteVector(10, std::byte{1})).code(), IoCode::kSealed);
  EXPECT_EQ(writable->copy_bytes(), ByteVector(100));
  EXPECT_TRUE(device.write(90, ByteVector(60, std::byte{1})).ok());
}

// A table that lies about offsets is caught before the device below is asked.
TEST(MapDevice, ExtentsOutsideTheDeviceBelowAreDamage) {
  auto map = std::make_unique<PieceMap>();
  map->data(0, ~0ULL - 10, 50).data(7, 0, 50);
  MapDevice device({memory(ByteVector(100))}, std::move(map), {100, 512, true});
  ByteVector buffer(10);
  EXPECT_EQ(device.read(0, buffer).code(), IoCode::kDamaged);
  EXPECT_EQ(device.read(60, buffer).code(), IoCode::kDamaged);
  EXPECT_EQ(device.write(0, buffer).code(), IoCode::kDamaged);
}

// Above a cipher a long write goes down in pieces: none may go before all of it was asked for.
TEST(CryptDevice, ALongWriteThatTouchesASealedPartChangesNothing) {
  constexpr std::size_t kSize = 3 * kCryptPieceBytes;
  auto below = memory(random_bytes(kSize, 17));
  const ByteVector before = below->copy_bytes();
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, kSize - 4096).zeros(4096);
  auto part = std::make_shared<MapDevice>(std::vector<DevicePtr>{below}, std::move(map),
                                          Geometry{kSize, 512, true});
  const DevicePtr plaintext = make_crypt_layer(part, 0, kSize, test_cipher(512));
  EXPECT_EQ(plaintext->write(0, ByteVector(kSize)).code(), IoCode::kSealed);
  EXPECT_EQ(below->copy_bytes(), before);
  EXPECT_EQ(plaintext->write_zeroes(0, kSize).code(), IoCode::kSealed);
  EXPECT_EQ(below->copy_bytes(), before);
}

TEST(CryptDevice, TakesWholeSectorsOnly) {
  CryptDevice device(memory(ByteVector(8192)), 0, 8192, test_cipher(4096));
  ByteVector buffer(4096);
  EXPECT_TRUE(device.read(4096, buffer).ok());
  EXPECT_EQ(device.read(512, buffer).code(), IoCode::kOutOfRange);
  EXPECT_EQ(device.write(0, std::span(buffer).first(512)).code(), IoCode::kOutOfRange);
}

TEST(CryptDevice, RoundsAnOddTailDownAndNeverClaimsZeros) {
  auto below = memory(ByteVector(512 * 5 + 100));
  const DevicePtr plain = make_crypt_layer(below, 512, 512 * 4 + 100, test_cipher(512));
  EXPECT_EQ(plain->size_bytes(), 512U * 4);
  EXPECT_FALSE(plain->extent_at(0, 512).reads_as_zero);
}

// Writes of every alignment, compared with a plain byte array; the bytes outside the layer and the
// caller's buffer stay as they were.
TEST(SectorAligner, EveryAlignmentAgreesWithAnArray) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const std::uint32_t sector : {512U, 4096U}) {
    auto below = memory(random_bytes(512 + 300 * 1024 + 512, seed));
    const ByteVector before = below->copy_bytes();
    const DevicePtr plain = make_crypt_layer(below, 512, 300 * 1024, test_cipher(sector));
    ByteVector model = read_all(*plain);
    for (int i = 0; i < 600; ++i) {
      const std::size_t offset = random() % model.size();
      const std::size_t longest = (i % 5 == 0) ? 200'000 : 3 * sector;
      const std::size_t length = std::min<std::size_t>(random() % longest, model.size() - offset);
      if (i % 7 == 0) {
        ASSERT_TRUE(plain->write_zeroes(offset, length).ok());
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
      } else {
        const ByteVector data = random_bytes(length, random());
        const ByteVector copy = data;
        ASSERT_TRUE(plain->write(offset, data).ok());
        ASSERT_EQ(data, copy) << "the caller's buffer was changed";
        std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
      }
      const std::size_t at = random() % model.size();
      ByteVector got(std::min<std::size_t>(random() % 9000, model.size() - at));
      ASSERT_TRUE(plain->read(at, got).ok());
      ASSERT_TRUE(
          std::equal(got.begin(), got.end(), model.begin() + static_cast<std::ptrdiff_t>(at)));
    }
    EXPECT_EQ(read_all(*plain), model);
    const ByteVector after = below->copy_bytes();
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + 512, after.begin()));
    EXPECT_TRUE(std::equal(before.end() - 512, before.end(), after.end() - 512));
  }
}

// The bug this class exists to prevent: two threads write different bytes of one sector, and the
// merge of one brings back what the other has just overwritten.
TEST(SectorAligner, NeighboursInOneSectorDoNotLoseEachOthersWrites) {
  const DevicePtr plain = make_crypt_layer(memory(ByteVector(8192)), 0, 8192, test_cipher(4096));
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  std::atomic<int> lost{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      const std::uint64_t offset = 4000 + static_cast<std::uint64_t>(t) * 50;  // spans two sectors
      for (int i = 0; i < kRounds; ++i) {
        const ByteVector mine(50, static_cast<std::byte>(i + t));
        ByteVector back(50);
        if (!plain->write(offset, mine).ok() || !plain->read(offset, back).ok() || back != mine) {
          ++lost;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
}

// Storage as it is: a write reaches it piece by piece, and a read may fall in between.
class PiecewiseDevice final : public BlockDevice {
 public:
  explicit PiecewiseDevice(DevicePtr below)
      : BlockDevice(below->geometry()), below_(std::move(below)) {}

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    return below_->read(offset, into);
  }
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override {
    for (std::size_t at = 0; at < from.size(); at += 512) {
      const auto piece = from.subspan(at, std::min<std::size_t>(512, from.size() - at));
      if (const IoStatus s = below_->write(offset + at, piece); !s.ok()) return s;
      std::this_thread::yield();
    }
    return {};
  }
  const DevicePtr below_;
};

// In CBC a changed block changes every block after it, so a reader that met a half-written sector
// would see noise in bytes that nobody touches.
TEST(SectorAligner, ReadersNextToAWriterNeverSeeHalfASector) {
  auto storage = std::make_shared<PiecewiseDevice>(memory(ByteVector(16 * 1024)));
  auto spec = parse_cipher_spec("aes-cbc-plain64");
  spec->sector_bytes = 4096;
  auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(random_bytes(32, 1)));
  const DevicePtr plain = make_crypt_layer(storage, 0, 16 * 1024, std::move(*cipher));
  const ByteVector untouched = random_bytes(4096, 2);
  ASSERT_TRUE(plain->write(0, untouched).ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (unsigned i = 0; !stop; ++i) {
      if (!plain->write(0, ByteVector(16, static_cast<std::byte>(i))).ok()) break;
    }
  });
  int wrong = 0;
  for (int i = 0; i < 5'000; ++i) {
    ByteVector got(4000);
    if (!plain->read(96, got).ok() || !std::equal(got.begin(), got.end(), untouched.begin() + 96)) {
      ++wrong;
    }
  }
  stop = true;
  writer.join();
  EXPECT_EQ(wrong, 0);
}

// Each level of a nest of volumes encrypts into a buffer of its own: the one above is still in use.
TEST(CryptDevice, NestedLayersOfOtherSectorSizesDoNotShareScratch) {
  const DevicePtr outer =
      make_crypt_layer(memory(ByteVector(64 * 1024)), 0, 64 * 1024, test_cipher(4096));
  const DevicePtr inner = make_crypt_layer(outer, 512, 60 * 1024, test_cipher(512));
  const ByteVector data = random_bytes(20'000, 9);
  ASSERT_TRUE(inner->write(700, data).ok());
  ByteVector back(data.size());
  ASSERT_TRUE(inner->read(700, back).ok());
  EXPECT_EQ(back, data);
}

TEST(SectorAligner, AFailedMergeReportsAndChangesNothing) {
  auto fault = std::make_shared<FaultDevice>(memory(random_bytes(8192, 3)));
  const DevicePtr plain = make_crypt_layer(fault, 0, 8192, test_cipher(4096));
  fault->bad_read_byte = 100;
  EXPECT_EQ(plain->write(10, ByteVector(20)).code(), IoCode::kFailed);
  EXPECT_EQ(fault->writes, 0);
  ByteVector buffer(4096);
  EXPECT_EQ(plain->read(0, buffer).code(), IoCode::kFailed);
  EXPECT_TRUE(plain->read(4096, buffer).ok());
}

TEST(RangeLock, WaitsOnlyForOverlap) {
  RangeLock lock;
  std::latch holding(1);
  std::atomic<bool> released{false};
  auto first = std::make_unique<RangeLock::Guard>(lock, 0, 100);
  std::thread other([&] {
    { const RangeLock::Guard apart(lock, 100, 50); }  // does not wait
    holding.count_down();
    const RangeLock::Guard overlapping(lock, 99, 2);
    EXPECT_TRUE(released.load());
  });
  holding.wait();
  released = true;
  first.reset();
  other.join();
}

// Metadata behind a block table that cannot be true: the image is damaged, the system is not.
TEST(ReadBytes, DamageBelowIsDamageAndNotASystemError) {
  auto map = std::make_unique<PieceMap>();
  map->data(0, 4096, 1000);
  MapDevice damaged({memory(ByteVector(1000))}, std::move(map), {1000, 512, false});
  const auto result = read_bytes(damaged, 0, 512, "boot sector");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kDamaged);
  EXPECT_NE(result.error().message().find("boot sector at byte 0"), std::string::npos);

  FaultDevice failing(memory(ByteVector(1000)));
  failing.bad_read_byte = 100;
  const auto failed = read_bytes(failing, 0, 512, "boot sector");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kSystem);
}

TEST(SecretBytes, MovesAndForgets) {
  SecretBytes a = SecretBytes::copy_of(random_bytes(100, 5));
  const std::byte* where = a.data();
  SecretBytes b = std::move(a);
  EXPECT_EQ(b.data(), where);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_TRUE(b.equals(random_bytes(100, 5)));
  EXPECT_FALSE(b.equals(random_bytes(100, 6)));
  EXPECT_FALSE(b.equals(random_bytes(99, 5)));
  b.truncate(10);
  EXPECT_EQ(b.size(), 10U);
  EXPECT_EQ(where[50], std::byte{0}) << "what is cut off is wiped";
}

}  // namespace
}  // namespace latchkey::engine
