// The data path of `copy`: pieces in any order, zeros, storage that fails, going on where it
// stopped; and the file that says where that was.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "keyslots/digest.h"
#include "tests/support/fault_device.h"
#include "tests/support/test_bytes.h"
#include "tools/copy/copy_job.h"
#include "tools/copy/copy_progress.h"
#include "tools/copy/copy_state.h"
#include "tools/copy/copy_target.h"
#include "tools/key_options.h"
#include "tools/same_storage.h"

namespace latchkey::tools {
namespace {

using engine::DevicePtr;
using engine::IoStatus;
using engine::Result;
using test::ByteVector;

constexpr std::size_t kPiece = kCopyPieceBytes;

std::string sha256_of(const ByteVector& bytes) {
  auto digest = keyslots::Digest::find("sha256");
  keyslots::RunningHash hash(*digest);
  EXPECT_TRUE(hash.add(bytes));
  return hash.hex();
}

// Keeps what it is given, and which requests that were.
class Recorder final : public engine::BlockDevice {
 public:
  explicit Recorder(ByteVector bytes)
      : BlockDevice({bytes.size(), 512, true}), bytes_(std::move(bytes)) {}

  const ByteVector& bytes() const { return bytes_; }
  std::atomic<std::uint64_t> written{0};
  std::atomic<std::uint64_t> zeroed{0};
  std::atomic<bool> full{false};

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return {};
  }
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override {
    if (full) return engine::IoCode::kNoSpace;
    written += from.size();
    std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                           engine::WriteFlags) noexcept override {
    zeroed += length;
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
    return {};
  }

  ByteVector bytes_;
};

DevicePtr device_of(const ByteVector& bytes) {
  return std::make_shared<Recorder>(bytes);
}

// Seven pieces and a bit: noise, zeros, and both mixed.
ByteVector mixed() {
  ByteVector bytes = test::random_bytes(7 * kPiece + 1536, test::test_seed());
  std::fill_n(bytes.begin() + 2 * kPiece, 2 * kPiece, std::byte{0});
  std::fill_n(bytes.begin() + 5 * kPiece + 65536, 131072, std::byte{0});
  return bytes;
}
constexpr std::uint64_t kZeros = 2 * kPiece + 131072;

Result<CopyOutcome> run(const DevicePtr& source, const DevicePtr& target, std::uint64_t bytes,
                        const CopyJobOptions& options) {
  CopyJob job(source, target, bytes, options);
  if (auto started = job.start(); !started) return std::move(started).error();
  auto outcome = job.finish();
  if (outcome.ok()) {
    EXPECT_EQ(job.copied_below(), bytes);
  }
  return outcome;
}

class EveryJobCount : public ::testing::TestWithParam<unsigned> {};

TEST_P(EveryJobCount, CopiesAndHashesInOrder) {
  const ByteVector bytes = mixed();
  const auto target = std::make_shared<Recorder>(ByteVector(bytes.size()));
  const auto outcome = run(device_of(bytes), target, bytes.size(),
                           {.jobs = GetParam(), .zeroes = ZeroWrites::kNone});
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  EXPECT_EQ(target->bytes(), bytes);
  EXPECT_EQ(outcome->sha256, sha256_of(bytes));
  EXPECT_EQ(outcome->zero_bytes, kZeros);
  EXPECT_EQ(target->zeroed, 0U);
  EXPECT_EQ(target->written, bytes.size() - kZeros);
}

INSTANTIATE_TEST_SUITE_P(Jobs, EveryJobCount, ::testing::Values(1U, 2U, 5U, 16U),
                         [](const auto& param) { return std::to_string(param.param); });

TEST(CopyJob, ZerosOverOldDataAreWritten) {
  const ByteVector bytes = mixed();
  for (const ZeroWrites zeroes : {ZeroWrites::kDiscard, ZeroWrites::kWriteOut}) {
    const auto target = std::make_shared<Recorder>(ByteVector(bytes.size(), std::byte{0xaa}));
    const auto outcome = run(device_of(bytes), target, bytes.size(), {.jobs = 2, .zeroes = zeroes});
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(target->bytes(), bytes);
    EXPECT_EQ(target->zeroed, zeroes == ZeroWrites::kDiscard ? kZeros : 0);
  }
}

TEST(CopyJob, NothingIsHashedUnlessWanted) {
  const ByteVector bytes = test::random_bytes(kPiece + 1, 3);
  const auto target = std::make_shared<Recorder>(ByteVector(bytes.size()));
  const auto outcome = run(device_of(bytes), target, bytes.size(), {.jobs = 2, .digest = false});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(target->bytes(), bytes);
  EXPECT_EQ(outcome->sha256, "");
}

TEST(CopyJob, NothingAtAllHasADigest) {
  const auto outcome = run(device_of({}), device_of({}), 0, {.jobs = 3});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(CopyJob, WhatIsThereAlreadyIsComparedAndMended) {
  const ByteVector bytes = mixed();
  ByteVector there = bytes;
  there[kPiece + 7] ^= std::byte{1};                                    // damaged below the mark
  there[2 * kPiece] = std::byte{9};                                     // where zeros belong
  std::fill(there.begin() + 6 * kPiece, there.end(), std::byte{0xcc});  // never written
  const auto target = std::make_shared<Recorder>(there);
  const auto outcome =
      run(device_of(bytes), target, bytes.size(), {.jobs = 2, .compare_below = 6 * kPiece});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(target->bytes(), bytes);
  EXPECT_EQ(outcome->rewritten_bytes, 2 * kPiece);
  EXPECT_EQ(outcome->sha256, sha256_of(bytes));
  EXPECT_EQ(target->written, kPiece + (bytes.size() - 6 * kPiece));
}

TEST(CopyJob, ABadSectorStopsItAndIsNamed) {
  const ByteVector bytes = mixed();
  const auto source = std::make_shared<test::FaultDevice>(device_of(bytes));
  source->bad_read_byte = 4 * kPiece + 5000;
  const auto outcome =
      run(source, std::make_shared<Recorder>(ByteVector(bytes.size())), bytes.size(), {.jobs = 3});
  ASSERT_FALSE(outcome.ok());
  EXPECT_NE(outcome.error().message().find(std::to_string(4 * kPiece + 4608)), std::string::npos)
      << outcome.error().message();
}

TEST(CopyJob, ABadSectorIsFilledAndRecordedWhereThatWasAskedFor) {
  ByteVector bytes = mixed();
  const auto source = std::make_shared<test::FaultDevice>(device_of(bytes));
  source->bad_read_byte = 4 * kPiece + 5000;
  const auto target = std::make_shared<Recorder>(ByteVector(bytes.size(), std::byte{0xaa}));
  const auto outcome = run(source, target, bytes.size(), {.jobs = 3, .keep_going = true});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->unreadable.size(), 1U);
  EXPECT_EQ(outcome->unreadable[0].offset, 4 * kPiece + 4608);
  EXPECT_EQ(outcome->unreadable[0].length, 512U);
  std::fill_n(bytes.begin() + 4 * kPiece + 4608, 512, std::byte{0});
  EXPECT_EQ(target->bytes(), bytes);
  EXPECT_EQ(outcome->sha256, sha256_of(bytes));
}

TEST(CopyJob, AFullTargetEndsAllThreads) {
  const ByteVector bytes = test::random_bytes(9 * kPiece, 4);
  const auto target = std::make_shared<Recorder>(ByteVector(bytes.size()));
  target->full = true;
  const auto outcome = run(device_of(bytes), target, bytes.size(), {.jobs = 4});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().sys_errno(), ENOSPC);
}

TEST(CopyJob, WhatWasCopiedBeforeItWasStoppedIsThere) {
  const ByteVector bytes = test::random_bytes(64 * kPiece, 5);
  const auto target = std::make_shared<Recorder>(ByteVector(bytes.size()));
  CopyJob job(device_of(bytes), target, bytes.size(), {.jobs = 3});
  ASSERT_TRUE(job.start().ok());
  while (job.copied_below() < 3 * kPiece) std::this_thread::yield();
  job.stop();
  ASSERT_TRUE(job.finish().ok());
  const std::uint64_t below = job.copied_below();
  ASSERT_GE(below, 3 * kPiece);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(below),
                         target->bytes().begin()));
}

// Says of its own zeros that they are some.
class Sparse final : public engine::BlockDevice {
 public:
  Sparse() : BlockDevice({6 * kPiece, 512, false}) {}
  std::atomic<std::uint64_t> read_bytes{0};

 private:
  static bool hole(std::uint64_t offset) { return offset / (kPiece / 2) % 4 >= 2; }
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    read_bytes += into.size();
    for (std::byte& b : into) b = hole(offset++) ? std::byte{0} : std::byte{7};
    return {};
  }
  engine::Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override {
    const std::uint64_t run = kPiece - (offset % kPiece);
    return {std::min(run, length), !hole(offset), hole(offset)};
  }
};

TEST(CopyJob, HolesOfTheSourceAreNotRead) {
  const auto source = std::make_shared<Sparse>();
  const auto target = std::make_shared<Recorder>(ByteVector(6 * kPiece));
  const auto outcome = run(source, target, 6 * kPiece, {.jobs = 2, .zeroes = ZeroWrites::kNone});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(source->read_bytes, 3 * kPiece);
  EXPECT_EQ(outcome->zero_bytes, 3 * kPiece);
  EXPECT_EQ(target->bytes()[kPiece / 2], std::byte{7});
  EXPECT_EQ(target->bytes()[kPiece + 1], std::byte{0});
  EXPECT_EQ(outcome->sha256, sha256_of(target->bytes()));
}

class StateFile : public ::testing::Test {
 protected:
  test::TempDir dir_;
  const std::string out_ = (dir_ / "out").string();
};

TEST_F(StateFile, IsReadAsItWasWritten) {
  const CopyState state{.image = "a \"b\"\n\xff",
                        .image_bytes = 1234567890123,
                        .image_changed_ns = 1700000000123456789,
                        .what = "p1",
                        .bytes = 99,
                        .format = "vhd",
                        .volume = "luks2 aes-xts-plain64",
                        .made = true,
                        .copied_below = 98};
  {
    CopyMark mark(out_);
    EXPECT_FALSE(mark.open()->has_value());
    ASSERT_TRUE(mark.write(state).ok());
    ASSERT_TRUE(mark.write(state).ok());
  }
  CopyMark mark(out_);
  const auto read = mark.open();
  ASSERT_TRUE(read.ok());
  ASSERT_TRUE(read->has_value());
  EXPECT_TRUE((*read)->same_copy(state));
  EXPECT_TRUE((*read)->made);
  EXPECT_EQ((*read)->copied_below, 98U);
  mark.remove();
  EXPECT_FALSE(CopyMark(out_).open()->has_value());
  EXPECT_TRUE(std::filesystem::is_empty(std::filesystem::path(out_).parent_path()));
}

TEST_F(StateFile, BelongsToOneCopyAtATime) {
  CopyMark mark(out_);
  const CopyState state;
  ASSERT_TRUE(mark.write(state).ok());
  for (int i = 0; i < 2; ++i) {
    CopyMark other(out_);
    const auto opened = other.open();
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), engine::ErrorCode::kRefused);
    // Nor is it made where it seemed not to be there.
    EXPECT_EQ(CopyMark(out_).write(state).error().code(), engine::ErrorCode::kRefused);
    ASSERT_TRUE(mark.write(state).ok());
  }
}

TEST_F(StateFile, AnythingElseIsAnError) {
  for (const char* text : {"", "{", "[]", "{\"version\": 2}", "{\"version\": \"1\"}"}) {
    const auto bytes = engine::as_bytes(text);
    test::write_file(copy_state_file_of(out_), {bytes.begin(), bytes.end()});
    CopyMark mark(out_);
    const auto read = mark.open();
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().code(), engine::ErrorCode::kDamaged);
  }
}

TEST_F(StateFile, EveryFileOfTheKeysIsKnown) {
  const std::filesystem::path folder = dir_ / "keys";
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "a.BEK") << "x";
  KeyOptions keys;
  keys.keys = {folder, "secret.json"};
  keys.passphrase_file = "-";
  keys.kek = "pkcs11:token=t";
  keys.header = "head";
  const std::vector<std::string> files = keys.files();
  EXPECT_EQ((std::set<std::string>(files.begin(), files.end())),
            (std::set<std::string>{"head", folder, folder / "a.BEK", "secret.json"}));
}

TEST_F(StateFile, NamesOfTheSameFileAreFound) {
  const std::string other = out_ + ".other";
  test::write_file(out_, ByteVector(10));
  std::filesystem::create_symlink(out_, out_ + ".link");
  std::filesystem::create_hard_link(out_, out_ + ".hard");
  test::write_file(other, ByteVector(10));
  EXPECT_TRUE(same_storage(out_, out_));
  EXPECT_TRUE(same_storage(out_, out_ + ".link"));
  EXPECT_TRUE(same_storage(out_ + ".hard", out_));
  EXPECT_FALSE(same_storage(out_, other));
  EXPECT_FALSE(same_storage(out_, out_ + ".none"));
  const std::filesystem::path none = out_ + ".none";
  EXPECT_TRUE(same_storage(none, none.parent_path() / "." / none.filename()));
}

TEST(CopyTarget, TheNameSaysTheFormat) {
  const auto format = [](const std::string& out, const std::string& asked = "") {
    CopyTargetOptions options;
    options.out = out;
    options.format = asked;
    const auto settled = format_of_target(options);
    return settled ? *settled : "refused";
  };
  EXPECT_EQ(format("/nowhere/a.vhd"), "vhd");
  EXPECT_EQ(format("/nowhere/A.VHD"), "vhd");
  EXPECT_EQ(format("/nowhere/a.vhd", "vhd-dynamic"), "vhd-dynamic");
  EXPECT_EQ(format("/nowhere/a.vhdx"), "refused");
  EXPECT_EQ(format("/nowhere/a.vhdx", "raw"), "raw");
  EXPECT_EQ(format("nbd://localhost/a.vhd"), "raw");
  EXPECT_EQ(format("nbd://localhost/a", "vhd"), "refused");
}

TEST(CopyProgress, SaysHowFarHowFastAndHowLongYet) {
  const std::uint64_t gib = std::uint64_t{1} << 30;
  EXPECT_EQ(progress_text("copied", gib, 4 * gib, 1.0, true),
            "[######..................]  25%  1.0 GiB of 4.0 GiB copied, 1.0 GiB/s, 0:03 left");
  EXPECT_EQ(progress_text("copied", gib, 4 * gib, 1.0, false),
            " 25%  1.0 GiB of 4.0 GiB copied, 1.0 GiB/s, 0:03 left");
  EXPECT_EQ(progress_text("copied", 0, 4 * gib, 9.0, false), "  0%  0 bytes of 4.0 GiB copied");
}

TEST(CopyProgress, NeverSaysMoreThanAll) {
  const std::string all = "[########################] 100%  512 bytes of 512 bytes hashed";
  EXPECT_EQ(progress_text("hashed", 512, 512, 0.1, true), all);
  EXPECT_EQ(progress_text("hashed", 1 << 20, 512, 0.1, true), all);
  EXPECT_EQ(progress_text("hashed", 0, 0, 0.1, false), "100%  0 bytes of 0 bytes hashed");
}

TEST(CopyProgress, TimesAreReadable) {
  EXPECT_EQ(clock_text(0.4), "0:00");
  EXPECT_EQ(clock_text(65), "1:05");
  EXPECT_EQ(clock_text(3723), "1:02:03");
  EXPECT_EQ(clock_text(-1), "0:00");
}

}  // namespace
}  // namespace latchkey::tools
