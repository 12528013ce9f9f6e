// The power may fail at any moment: after each operation of a run of random writes, zeroes and
// flushes, every image a cut could leave is opened, and has to hold what was flushed.
#include <algorithm>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/container_opening.h"
#include "tests/support/recording_device.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {
namespace {

constexpr std::uint32_t kBlock = 4 * 1024;
constexpr std::uint32_t kBlocks = 160;  // a table of two sectors
constexpr std::uint64_t kDiskBytes = std::uint64_t{kBlocks} * kBlock;
constexpr std::size_t kSector = 512;
constexpr int kOperations = 80;

// What a sector of the virtual disk held, and in which part of the log that began and ended.
struct Version {
  std::size_t began = 0;
  std::size_t ended = 0;
  ByteVector bytes;
};

struct Flush {
  std::size_t began = 0;
  std::size_t ended = 0;
};

class PowerCut : public ::testing::Test {
 protected:
  // Runs random operations on a disk with two blocks and records what they did to its file.
  void run(std::uint64_t seed) {
    DynamicVhdFields fields;
    fields.disk_bytes = kDiskBytes;
    fields.block_bytes = kBlock;
    fields.blocks[1] = random_bytes(kBlock, seed);
    fields.blocks[130] = random_bytes(kBlock, seed + 1);
    fields.bitmap = std::byte{0x55};
    initial_ = make_dynamic_vhd(fields);
    auto memory = std::make_shared<engine::MemoryDevice>(initial_, true);
    recorder_ = std::make_shared<RecordingDevice>(memory);
    engine::Notices notices;
    auto container = engine::open_container(recorder_, notices);
    ASSERT_TRUE(container.ok());
    disk_ = container->disk;
    versions_.resize(kDiskBytes / kSector);
    note_versions(0, kDiskBytes, 0);

    std::mt19937_64 random(seed);
    for (int i = 0; i < kOperations; ++i) step(random);
  }

  void step(std::mt19937_64& random) {
    const std::size_t began = recorder_->count();
    const std::uint64_t choice = random() % 10;
    if (choice < 2) {
      ASSERT_TRUE(disk_->flush().ok());
      flushes_.push_back({began, recorder_->count()});
      return;
    }
    const std::uint64_t offset = random() % kDiskBytes;
    const std::uint64_t length =
        std::min<std::uint64_t>(random() % (3 * kBlock), kDiskBytes - offset);
    if (choice == 2) {
      ASSERT_TRUE(disk_->write_zeroes(offset, length).ok());
    } else {
      ASSERT_TRUE(disk_->write(offset, random_bytes(length, random())).ok());
    }
    note_versions(offset, length, began);
  }

  void note_versions(std::uint64_t offset, std::uint64_t length, std::size_t began) {
    for (std::uint64_t sector = offset / kSector; sector * kSector < offset + length; ++sector) {
      Version version{began, recorder_->count(), ByteVector(kSector)};
      ASSERT_TRUE(disk_->read(sector * kSector, version.bytes).ok());
      versions_[sector].push_back(std::move(version));
    }
  }

  // Each sector must hold its last version before the last flush that was over by the cut, or a
  // later one that had begun.
  void expect_flushed(const ByteVector& image, std::size_t cut, const std::string& what) {
    SCOPED_TRACE(what + ", cut after operation " + std::to_string(cut));
    auto opened = open_image(image, true);
    ASSERT_TRUE(opened.ok()) << opened.refusal();
    ASSERT_EQ(opened.container->format, "vhd-dynamic");
    EXPECT_EQ(opened.container->read_only_reason, "");
    const ByteVector held = read_all(opened.disk());
    Flush flushed;
    for (const Flush& flush : flushes_) {
      if (flush.ended <= cut) flushed = flush;
    }
    for (std::size_t sector = 0; sector < versions_.size(); ++sector) {
      const auto begin = held.begin() + static_cast<std::ptrdiff_t>(sector * kSector);
      bool found = false;
      for (auto version = versions_[sector].rbegin(); version != versions_[sector].rend();
           ++version) {
        if (version->began > cut) continue;
        found = std::equal(version->bytes.begin(), version->bytes.end(), begin);
        if (found || version->ended <= flushed.began) break;
      }
      ASSERT_TRUE(found) << "sector " << sector << " of the disk";
    }
  }

  ByteVector initial_;
  std::shared_ptr<RecordingDevice> recorder_;
  engine::DevicePtr disk_;
  std::vector<std::vector<Version>> versions_;
  std::vector<Flush> flushes_;
};

TEST_F(PowerCut, EveryImageACutCouldLeaveHoldsWhatWasFlushed) {
  const std::uint64_t seed = test_seed();
  run(seed);
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_GT(flushes_.size(), 5U);
  std::mt19937_64 random(seed + 2);
  for (std::size_t cut = 0; cut <= recorder_->count(); ++cut) {
    const CrashImages images(initial_, recorder_->log(), cut);
    expect_flushed(images.everything(), cut, "all writes there");
    expect_flushed(images.nothing_unsynced(), cut, "no write there since the last sync");
    expect_flushed(images.some(random), cut, "some writes there");
    if (HasFatalFailure()) return;
  }
}

// An image that a cut left is written to as any other, and its blocks are its own.
TEST_F(PowerCut, WritingGoesOnAfterACut) {
  const std::uint64_t seed = test_seed();
  run(seed);
  std::mt19937_64 random(seed + 3);
  for (int i = 0; i < 20; ++i) {
    const std::size_t cut = random() % (recorder_->count() + 1);
    SCOPED_TRACE("cut after operation " + std::to_string(cut));
    auto opened = open_image(CrashImages(initial_, recorder_->log(), cut).some(random), true);
    ASSERT_TRUE(opened.ok()) << opened.refusal();
    ByteVector expected = read_all(opened.disk());
    for (int j = 0; j < 10; ++j) {
      const std::uint64_t offset = random() % (kDiskBytes - kBlock);
      const ByteVector data = random_bytes(random() % kBlock, random());
      ASSERT_TRUE(opened.disk().write(offset, data).ok());
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    ASSERT_TRUE(opened.disk().flush().ok());
    auto again = open_image(opened.file->copy_bytes());
    ASSERT_TRUE(again.ok());
    ASSERT_EQ(read_all(again.disk()), expected);
  }
}

// qemu-img must read a sample of these images as we do. Its `check` does not know this format.
TEST_F(PowerCut, QemuReadsTheSame) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const std::uint64_t seed = test_seed();
  run(seed);
  const TempDir folder;
  std::mt19937_64 random(seed + 4);
  for (int i = 0; i < 12; ++i) {
    const std::size_t cut = random() % (recorder_->count() + 1);
    const ByteVector image = CrashImages(initial_, recorder_->log(), cut).some(random);
    auto opened = open_image(image);
    ASSERT_TRUE(opened.ok());
    write_file(folder / "cut.vhd", image);
    write_file(folder / "cut.raw", read_all(opened.disk()));
    EXPECT_TRUE(shell("qemu-img compare -f vpc -F raw '" + (folder / "cut.vhd").string() + "' '" +
                      (folder / "cut.raw").string() + "'"))
        << "cut after operation " << cut;
  }
}

}  // namespace
}  // namespace latchkey::test
