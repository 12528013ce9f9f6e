// Files out of file systems that mke2fs and mkfs.xfs made, and out of the same ones broken.
#include "engine/filesystems/read_file.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/file_device.h"
#include "engine/memory_device.h"
#include "engine/signatures.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;

// luks/osluksheader (content_), luks/sparse (a hole between two letters), luks/link ->
// osluksheader.
class ReadFile : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string type = GetParam();
    if (!test::have_program(type == "xfs" ? "mkfs.xfs" : "mke2fs")) {
      GTEST_SKIP() << "there is no mkfs for " << type;
    }
    const std::string tree = dir_ / "tree";
    const std::string header = tree + "/luks/osluksheader";
    ASSERT_TRUE(test::shell("mkdir -p " + tree + "/luks"));
    test::write_file(header, content_);
    ASSERT_TRUE(test::shell("cd " + tree +
                            "/luks && printf a >sparse && truncate -s 300000 sparse "
                            "&& printf z >>sparse && ln -s osluksheader link"));
    if (type == "xfs") {
      const std::string proto = dir_ / "proto";
      ASSERT_TRUE(
          test::shell("printf '/\\n0 0\\nd--755 0 0\\nluks d--755 0 0\\nosluksheader "
                      "---600 0 0 %s\\nsparse ---600 0 0 %s\\n$\\n$\\n' " +
                      header + " " + tree + "/luks/sparse >" + proto + " && truncate -s 320M " +
                      path_ + " && mkfs.xfs -q -p " + proto + " " + path_));
    } else {
      ASSERT_TRUE(test::shell("mke2fs -q -t " + type + " -d " + tree + " " + path_ + " 24M"));
    }
    device_ = open();
  }

  DevicePtr open() {
    Notices notices;
    auto device = FileDevice::open(path_, Access::kReadOnly, notices);
    EXPECT_TRUE(device.ok());
    return *device;
  }
  auto read(const std::string& path) { return read_file(*device_, GetParam(), path); }

  test::TempDir dir_;
  const std::string path_ = dir_ / "image";
  const ByteVector content_ = test::random_bytes(3'000'001, 5);
  DevicePtr device_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, ReadFile, testing::Values("ext2", "ext3", "ext4", "xfs"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(ReadFile, EveryByte) {
  EXPECT_EQ(identify_content(*device_).type, GetParam());
  const auto file = read("luks/osluksheader");
  ASSERT_TRUE(file.ok()) << file.error().message();
  ASSERT_TRUE(file->has_value());
  EXPECT_TRUE(**file == content_);
  const auto sparse = read("luks/sparse");
  ASSERT_TRUE(sparse.ok()) << sparse.error().message();
  ByteVector expected(300'001);
  expected.front() = std::byte{'a'};
  expected.back() = std::byte{'z'};
  EXPECT_TRUE(**sparse == expected);
}

TEST_P(ReadFile, WhatIsNotThereOrNotAFile) {
  for (const char* absent : {"luks/other", "other/osluksheader", "luks/osluksheader2"}) {
    const auto file = read(absent);
    ASSERT_TRUE(file.ok()) << file.error().message();
    EXPECT_FALSE(file->has_value()) << absent;
  }
  const auto folder = read("luks");
  ASSERT_FALSE(folder.ok());
  EXPECT_EQ(folder.error().message(), "luks: it is not a regular file");
}

TEST_P(ReadFile, NothingIsWritten) {
  const ByteVector before = test::read_file(path_);
  ASSERT_TRUE(read("luks/osluksheader").ok());
  EXPECT_TRUE(test::read_file(path_) == before);
}

TEST_P(ReadFile, CutShort) {
  ByteVector bytes = test::read_file(path_);
  bytes.resize(1024 * 1024);
  MemoryDevice device(std::move(bytes));
  const auto file = read_file(device, GetParam(), "luks/osluksheader");
  EXPECT_TRUE(!file.ok() || !file->has_value());
}

// The bytes of another device, a few of them changed.
class Patched final : public BlockDevice {
 public:
  Patched(DevicePtr below, std::vector<std::pair<std::uint64_t, std::byte>> changes)
      : BlockDevice({below->size_bytes(), 512, false}),
        below_(std::move(below)),
        changes_(std::move(changes)) {}

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    const IoStatus status = below_->read(offset, into);
    for (const auto& [at, value] : changes_) {
      if (at >= offset && at - offset < into.size()) into[at - offset] = value;
    }
    return status;
  }
  const DevicePtr below_;
  const std::vector<std::pair<std::uint64_t, std::byte>> changes_;
};

// Whatever is broken, there is an answer, and it does not take this process with it.
TEST_P(ReadFile, BrokenAnywhere) {
  std::mt19937_64 random(test::test_seed());
  ByteVector head(256 * 1024);
  ASSERT_TRUE(device_->read(0, head).ok());
  std::vector<std::uint64_t> used;  // where there are metadata
  for (std::size_t at = 0; at < head.size(); ++at) {
    if (head[at] != std::byte{0}) used.push_back(at);
  }
  for (int round = 0; round < 60; ++round) {
    std::vector<std::pair<std::uint64_t, std::byte>> changes;
    for (std::uint64_t i = 0; i <= random() % 4; ++i) {
      changes.emplace_back(used[random() % used.size()], static_cast<std::byte>(random() & 0xff));
    }
    Patched broken(device_, changes);
    const auto file = read_file(broken, GetParam(), "luks/osluksheader");
    if (!file.ok()) {
      EXPECT_FALSE(file.error().message().empty());
      EXPECT_NE(file.error().code(), ErrorCode::kSystem) << file.error().message();
    } else if (file->has_value()) {
      EXPECT_LE((*file)->size(), kMaxReadFileBytes);
    }
  }
}

TEST_P(ReadFile, AnotherKindIsAnError) {
  MemoryDevice zeros(ByteVector(1024 * 1024));
  const auto file = read_file(zeros, GetParam(), "luks/osluksheader");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code(), ErrorCode::kDamaged);
  EXPECT_FALSE(read_file(zeros, "ntfs", "luks/osluksheader").ok());
}

class ReadExtFile : public ReadFile {};
INSTANTIATE_TEST_SUITE_P(Kinds, ReadExtFile, testing::Values("ext2", "ext4"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(ReadExtFile, LinksAreFollowed) {
  const auto file = read("luks/link");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_TRUE(**file == content_);
}

TEST_P(ReadExtFile, TooLarge) {
  ASSERT_TRUE(test::shell("debugfs -w -R 'sif luks/osluksheader size 67108865' " + path_));
  const auto file = read("luks/osluksheader");
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().message().find("67108865 bytes, more than"), std::string::npos)
      << file.error().message();
}

// As after a crash: a journal waits. It is not replayed, and the file is read all the same.
TEST_P(ReadExtFile, NotCleanlyUnmounted) {
  const std::string feature =
      GetParam() == std::string("ext4") ? "feature needs_recovery" : "ssv state 0";
  ASSERT_TRUE(test::shell("debugfs -w -R '" + feature + "' " + path_));
  EXPECT_TRUE(identify_content(*device_).needs_recovery);
  const ByteVector before = test::read_file(path_);
  const auto file = read("luks/osluksheader");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_TRUE(**file == content_);
  EXPECT_TRUE(test::read_file(path_) == before);
}

}  // namespace
}  // namespace latchkey::engine
