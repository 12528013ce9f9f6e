// Writing to dynamic VHDs: where new blocks go, what reaches the disk when, and what happens when
// there is no room.
#include <atomic>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/containers/vhd_dynamic_map.h"
#include "engine/containers/vhd_format.h"
#include "engine/fault_log.h"
#include "tests/support/container_opening.h"
#include "tests/support/fault_device.h"
#include "tests/support/recording_device.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {
namespace {

using engine::IoCode;
using engine::WriteFlags;
using Kind = RecordedOperation::Kind;

constexpr std::uint32_t kBlock = 16 * 1024;
constexpr std::uint32_t kBlocks = 300;  // a table of three sectors
constexpr std::uint64_t kDiskBytes = std::uint64_t{kBlocks} * kBlock;
constexpr std::uint32_t kUnused = 0xffffffff;

DynamicVhdFields empty_disk() {
  DynamicVhdFields fields;
  fields.disk_bytes = kDiskBytes;
  fields.block_bytes = kBlock;
  return fields;
}

std::uint32_t entry_of(const ByteVector& image, std::uint32_t block) {
  return engine::load_be<std::uint32_t>(image, kVhdTableAt + block * 4);
}

ByteVector slice(const ByteVector& image, std::size_t at, std::size_t length) {
  return {image.begin() + static_cast<std::ptrdiff_t>(at),
          image.begin() + static_cast<std::ptrdiff_t>(at + length)};
}

TEST(VhdWrite, ANewBlockIsAppendedBetweenItsBitmapAndANewFooter) {
  const ByteVector before = make_dynamic_vhd(empty_disk());
  auto opened = open_image(before, true);
  ASSERT_TRUE(opened.ok());
  const ByteVector data = random_bytes(100, 1);
  ASSERT_TRUE(opened.disk().write(7 * kBlock + 50, data).ok());

  const ByteVector grown = opened.file->copy_bytes();
  const std::size_t data_at = engine::round_up(before.size() + 512, 4096);
  ASSERT_EQ(grown.size(), data_at + kBlock + 512);
  EXPECT_EQ(slice(grown, 0, before.size()), before) << "nothing that was there changes";
  EXPECT_EQ(slice(grown, data_at - 512, 512), ByteVector(512, std::byte{0xff}));
  ByteVector block(kBlock);
  std::copy(data.begin(), data.end(), block.begin() + 50);
  EXPECT_EQ(slice(grown, data_at, kBlock), block);
  EXPECT_EQ(slice(grown, data_at + kBlock, 512), slice(before, 0, 512));

  ASSERT_TRUE(opened.disk().flush().ok());
  const ByteVector flushed = opened.file->copy_bytes();
  EXPECT_EQ(entry_of(flushed, 7), (data_at - 512) / 512);
  auto again = open_image(flushed);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(read_all(again.disk()), read_all(opened.disk()));
  EXPECT_EQ(again.said(), "");
}

TEST(VhdWrite, TheTableIsWrittenBetweenTwoSyncsAndOnlyWhereItChanged) {
  auto memory = std::make_shared<engine::MemoryDevice>(make_dynamic_vhd(empty_disk()), true);
  auto recorder = std::make_shared<RecordingDevice>(memory);
  engine::Notices notices;
  auto container = engine::open_container(recorder, notices);
  ASSERT_TRUE(container.ok());
  const ByteVector data = random_bytes(512, 2);
  ASSERT_TRUE(container->disk->write(0, data).ok());
  ASSERT_TRUE(container->disk->write(299 * kBlock, data).ok());
  for (const RecordedOperation& operation : recorder->log()) {
    EXPECT_NE(operation.kind, Kind::kSync) << "allocating does not sync";
    EXPECT_FALSE(operation.kind == Kind::kWrite && operation.offset < kVhdTableAt + kBlocks * 4)
        << "nor touch what was there";
  }
  const std::size_t before_flush = recorder->count();
  ASSERT_TRUE(container->disk->flush().ok());
  const auto& log = recorder->log();
  ASSERT_EQ(log.size(), before_flush + 4);
  EXPECT_EQ(log[before_flush].kind, Kind::kSync);
  EXPECT_EQ(log[before_flush + 1].offset, kVhdTableAt);
  EXPECT_EQ(log[before_flush + 1].bytes.size(), 512U);
  EXPECT_EQ(log[before_flush + 2].offset, kVhdTableAt + 1024);
  EXPECT_EQ(log[before_flush + 2].bytes.size(), kBlocks * 4 - 1024U) << "no further than the table";
  EXPECT_EQ(log[before_flush + 3].kind, Kind::kSync);

  ASSERT_TRUE(container->disk->flush().ok());
  EXPECT_EQ(recorder->count(), before_flush + 5) << "nothing to commit: one sync";
}

// A block allocated while a flush is under way has not been synced: its entry has to wait, though
// its neighbour in the same sector of the table is written.
TEST(VhdWrite, ACommitHoldsBackWhatCameAfterIt) {
  const ByteVector image = make_dynamic_vhd(empty_disk());
  auto file = std::make_shared<engine::MemoryDevice>(image, true);
  const engine::VhdBlockLayout layout{kVhdHeaderAt, kVhdTableAt, kBlock, kDiskBytes,
                                      image.size() - 512};
  std::array<std::byte, engine::kVhdFooterBytes> footer{};
  engine::VhdDynamicMap map(file, layout, std::vector<std::uint32_t>(kBlocks, kUnused), footer);
  engine::MappedExtent extent;
  ASSERT_TRUE(map.allocate(0, 1, extent).ok());
  ASSERT_TRUE(map.begin_commit());
  ASSERT_TRUE(map.allocate(kBlock, 1, extent).ok());
  ASSERT_TRUE(map.commit().ok());
  EXPECT_NE(entry_of(file->copy_bytes(), 0), kUnused);
  EXPECT_EQ(entry_of(file->copy_bytes(), 1), kUnused);
  ASSERT_TRUE(map.begin_commit());
  ASSERT_TRUE(map.commit().ok());
  EXPECT_NE(entry_of(file->copy_bytes(), 1), kUnused);
  EXPECT_FALSE(map.begin_commit());
}

TEST(VhdWrite, ZeroesIntoAHoleDoNotAllocate) {
  const ByteVector before = make_dynamic_vhd(empty_disk());
  auto opened = open_image(before, true);
  ASSERT_TRUE(opened.disk().write_zeroes(100, kDiskBytes - 200).ok());
  ASSERT_TRUE(opened.disk().flush().ok());
  EXPECT_EQ(opened.file->copy_bytes(), before);
  ASSERT_TRUE(opened.disk().write_zeroes(0, 10, WriteFlags::kNoHole).ok());
  EXPECT_GT(opened.file->size_bytes(), before.size());
  EXPECT_TRUE(opened.disk().extent_at(0, kBlock).allocated);
}

TEST(VhdWrite, ABlockThatWasThereGetsAFullBitmapBeforeItsDataChanges) {
  DynamicVhdFields fields = empty_disk();
  fields.blocks[4] = random_bytes(kBlock, 4);
  fields.blocks[5] = random_bytes(kBlock, 5);
  fields.bitmap = std::byte{0x0f};
  const ByteVector before = make_dynamic_vhd(fields);
  auto memory = std::make_shared<engine::MemoryDevice>(before, true);
  auto recorder = std::make_shared<RecordingDevice>(memory);
  engine::Notices notices;
  auto container = engine::open_container(recorder, notices);
  ASSERT_TRUE(container.ok());
  const std::size_t bitmap_at = std::size_t{entry_of(before, 4)} * 512;
  const ByteVector data = random_bytes(100, 6);
  ASSERT_TRUE(container->disk->write(4 * kBlock, data).ok());
  ASSERT_TRUE(container->disk->write(4 * kBlock + 1000, data).ok());
  const auto& log = recorder->log();
  ASSERT_EQ(log.size(), 3U);
  EXPECT_EQ(log[0].offset, bitmap_at);
  EXPECT_EQ(log[0].bytes, ByteVector(512, std::byte{0xff}));
  EXPECT_EQ(log[1].offset, bitmap_at + 512);
  EXPECT_EQ(log[2].offset, bitmap_at + 512 + 1000);
  const std::size_t other_bitmap = std::size_t{entry_of(before, 5)} * 512;
  EXPECT_EQ(slice(memory->copy_bytes(), other_bitmap, 512), slice(before, other_bitmap, 512));
}

TEST(VhdWrite, NoRoomLeavesTheMapAsItWasAndALaterWriteTriesAgain) {
  const ByteVector before = make_dynamic_vhd(empty_disk());
  ByteVector capacity = before;
  // One block of 16 KiB and its surroundings fit.
  capacity.resize(before.size() + kBlock + 8192);
  auto memory = std::make_shared<engine::MemoryDevice>(std::move(capacity), true);
  auto file = std::make_shared<GrowableView>(memory, before.size());
  engine::Notices notices;
  auto container = engine::open_container(file, notices);
  ASSERT_TRUE(container.ok());
  const ByteVector data = random_bytes(512, 7);
  ASSERT_TRUE(container->disk->write(0, data).ok());
  engine::take_faults();
  EXPECT_EQ(container->disk->write(kBlock, data).code(), IoCode::kNoSpace);
  EXPECT_EQ(container->disk->write(2 * kBlock - 100, data).code(), IoCode::kNoSpace);
  EXPECT_THAT(engine::take_faults(),
              ::testing::ElementsAre(::testing::HasSubstr("no new block could be allocated")));
  EXPECT_FALSE(container->disk->extent_at(kBlock, kBlock).allocated);
  ByteVector read(512);
  ASSERT_TRUE(container->disk->read(kBlock, read).ok());
  EXPECT_EQ(read, ByteVector(512));
  EXPECT_TRUE(container->disk->write(100, data).ok()) << "blocks that have a place take writes";
  EXPECT_TRUE(container->disk->flush().ok());
}

TEST(VhdWrite, AFailedAllocationIsMadeGoodByTheNext) {
  const ByteVector before = make_dynamic_vhd(empty_disk());
  auto memory = std::make_shared<engine::MemoryDevice>(before, true);
  auto faulty = std::make_shared<FaultDevice>(memory);
  engine::Notices notices;
  auto container = engine::open_container(faulty, notices);
  ASSERT_TRUE(container.ok());
  const std::size_t data_at = engine::round_up(before.size() + 512, 4096);
  const ByteVector data = random_bytes(512, 8);
  for (const std::size_t bad : {data_at - 1, data_at + kBlock}) {  // bitmap, footer
    faulty->bad_write_byte = bad;
    EXPECT_EQ(container->disk->write(9 * kBlock, data).code(), IoCode::kFailed);
    EXPECT_FALSE(container->disk->extent_at(9 * kBlock, 512).allocated);
  }
  faulty->bad_write_byte = ~0ULL;
  ASSERT_TRUE(container->disk->write(200 * kBlock, data).ok());
  ASSERT_TRUE(container->disk->flush().ok());
  const ByteVector image = memory->copy_bytes();
  EXPECT_EQ(image.size(), data_at + kBlock + 512) << "the place that failed is used";
  EXPECT_EQ(entry_of(image, 9), kUnused);
  EXPECT_EQ(entry_of(image, 200), (data_at - 512) / 512);
}

TEST(VhdWrite, ACommitThatFailedIsRepeated) {
  auto memory = std::make_shared<engine::MemoryDevice>(make_dynamic_vhd(empty_disk()), true);
  auto faulty = std::make_shared<FaultDevice>(memory);
  engine::Notices notices;
  auto container = engine::open_container(faulty, notices);
  const ByteVector data = random_bytes(512, 9);
  ASSERT_TRUE(container->disk->write(0, data).ok());
  faulty->bad_write_byte = kVhdTableAt;
  EXPECT_EQ(container->disk->flush().code(), IoCode::kFailed);
  EXPECT_EQ(entry_of(memory->copy_bytes(), 0), kUnused);
  faulty->bad_write_byte = ~0ULL;
  ASSERT_TRUE(container->disk->write(kBlock, data).ok());
  ASSERT_TRUE(container->disk->flush().ok());
  EXPECT_NE(entry_of(memory->copy_bytes(), 0), kUnused);
  EXPECT_NE(entry_of(memory->copy_bytes(), 1), kUnused);
}

// Sectors are numbered with 32 bits: the last block that can be reached ends at 2 TiB.
TEST(VhdWrite, NoBlockIsPutBeyond2TiB) {
  const ByteVector before = make_dynamic_vhd(empty_disk());
  // A file that claims to be long, so that the next block would begin too far out.
  class LongFile final : public engine::GrowableDevice {
   public:
    explicit LongFile(ByteVector start)
        : GrowableDevice({2ULL << 40, 512, true}), start_(std::move(start)) {}

   private:
    engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
      for (std::size_t i = 0; i < into.size(); ++i) {
        into[i] = offset + i < start_.size() ? start_[offset + i] : std::byte{0};
      }
      return {};
    }
    engine::IoStatus do_write(std::uint64_t, std::span<const std::byte>) noexcept override {
      ADD_FAILURE() << "nothing may be written";
      return {};
    }
    engine::IoStatus do_grow_to(std::uint64_t) noexcept override {
      ADD_FAILURE() << "nor the file be made longer";
      return {};
    }
    const ByteVector start_;
  };
  engine::Notices notices;
  auto container = engine::open_container(std::make_shared<LongFile>(before), notices);
  ASSERT_TRUE(container.ok());
  EXPECT_EQ(container->disk->write(0, ByteVector(512)).code(), IoCode::kNoSpace);
}

// An empty disk whose table begins at byte `table_at`, with other bytes on both sides of it.
ByteVector with_table_at(std::size_t table_at) {
  const ByteVector image = make_dynamic_vhd(empty_disk());
  ByteVector moved = slice(image, 0, kVhdTableAt);
  moved.resize(table_at, std::byte{0x11});
  moved.insert(moved.end(), kBlocks * 4, std::byte{0xff});
  moved.resize(8192, std::byte{0x22});
  const ByteVector footer = slice(image, 0, 512);
  moved.insert(moved.end(), footer.begin(), footer.end());
  put_be<std::uint64_t>(moved, kVhdHeaderAt + 16, table_at);
  seal_vhd_header(moved, kVhdHeaderAt);
  return moved;
}

// An entry that straddles two sectors could be torn by a power cut.
TEST(VhdWrite, ATableWhoseEntriesStraddleSectorsIsNotWritten) {
  auto opened = open_image(with_table_at(kVhdTableAt + 30), true);
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_FALSE(opened.disk().writable());
  EXPECT_THAT(opened.container->read_only_reason, testing::HasSubstr("not aligned"));
}

// The table of a strange image need not begin at a sector; its neighbours must stay as they are.
TEST(VhdWrite, ATableThatDoesNotBeginAtASectorIsWrittenInPlace) {
  const std::size_t table_at = kVhdTableAt + 28;
  const ByteVector moved = with_table_at(table_at);
  auto opened = open_image(moved, true);
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  const ByteVector data = random_bytes(512, 10);
  std::vector<std::uint32_t> blocks = {0, 120, 121, 248, 249, 299};
  for (const std::uint32_t block : blocks) {
    ASSERT_TRUE(opened.disk().write(std::uint64_t{block} * kBlock, data).ok());
  }
  ASSERT_TRUE(opened.disk().flush().ok());
  const ByteVector after = opened.file->copy_bytes();
  EXPECT_EQ(slice(after, 0, table_at), slice(moved, 0, table_at));
  EXPECT_EQ(slice(after, table_at + kBlocks * 4, 8192 - table_at - kBlocks * 4),
            slice(moved, table_at + kBlocks * 4, 8192 - table_at - kBlocks * 4));
  auto again = open_image(after);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(read_all(again.disk()), read_all(opened.disk()));
}

TEST(VhdWrite, SeveralThreadsAllocateReadAndFlush) {
  const std::uint64_t seed = test_seed();
  auto opened = open_image(make_dynamic_vhd(empty_disk()), true);
  ASSERT_TRUE(opened.ok());
  engine::BlockDevice& disk = opened.disk();
  constexpr unsigned kWriters = 4;
  constexpr std::size_t kPiece = 512;
  // Each writer owns every fourth sector, so all of them meet in every block.
  std::atomic<bool> wrong{false};
  std::atomic<unsigned> running{kWriters};
  auto value_of = [](std::uint64_t sector) { return static_cast<std::byte>(sector % 251 + 1); };
  std::vector<std::thread> threads;
  for (unsigned writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(seed + writer);
      for (int i = 0; i < 400; ++i) {
        const std::uint64_t sector =
            random() % (kDiskBytes / kPiece / kWriters) * kWriters + writer;
        const ByteVector data(kPiece, value_of(sector));
        ByteVector back(kPiece);
        if (!disk.write(sector * kPiece, data).ok() || !disk.read(sector * kPiece, back).ok() ||
            back != data) {
          wrong = true;
        }
      }
      --running;
    });
  }
  threads.emplace_back([&] {
    while (running > 0) {
      if (!disk.flush().ok()) wrong = true;
    }
  });
  threads.emplace_back([&] {
    std::mt19937_64 random(seed + 100);
    while (running > 0) {
      const std::uint64_t sector = random() % (kDiskBytes / kPiece);
      ByteVector back(kPiece);
      if (!disk.read(sector * kPiece, back).ok()) wrong = true;
      const bool zeros = back == ByteVector(kPiece);
      if (!zeros && back != ByteVector(kPiece, value_of(sector))) wrong = true;
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  ASSERT_TRUE(disk.flush().ok());
  auto again = open_image(opened.file->copy_bytes());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.said(), "");
  EXPECT_EQ(read_all(again.disk()), read_all(disk));
}

}  // namespace
}  // namespace latchkey::test
