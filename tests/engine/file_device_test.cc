#include "engine/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/file_lock.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::TempDir;

class FileDeviceTest : public ::testing::Test {
 protected:
  TempDir dir_;
  Notices notices_;

  std::string image(std::size_t size = 8192) {
    std::string path = dir_ / "image";
    test::write_file(path, test::random_bytes(size, 1));
    return path;
  }
  Result<std::shared_ptr<FileDevice>> open(const std::string& path, Access access) {
    return FileDevice::open(path, access, notices_);
  }
};

TEST_F(FileDeviceTest, ReadsAndWrites) {
  const std::string path = image();
  {
    auto device = open(path, Access::kReadWrite);
    ASSERT_TRUE(device.ok());
    EXPECT_TRUE((*device)->write(8190, ByteVector(2, std::byte{7})).ok());
    EXPECT_TRUE((*device)->write_zeroes(0, 4096).ok());
    EXPECT_TRUE((*device)->flush().ok());
  }
  const ByteVector bytes = test::read_file(path);
  EXPECT_EQ(bytes[8191], std::byte{7});
  EXPECT_EQ(bytes[4095], std::byte{0});
}

TEST_F(FileDeviceTest, ReadOnlyIsReadOnly) {
  auto device = open(image(), Access::kReadOnly);
  ASSERT_TRUE(device.ok());
  EXPECT_FALSE((*device)->geometry().writable);
  EXPECT_EQ((*device)->write(0, ByteVector(1)).code(), IoCode::kReadOnly);
}

TEST_F(FileDeviceTest, WhatIsNoImageHasAMessageOfItsOwn) {
  const auto message = [&](const std::string& path) {
    auto device = open(path, Access::kReadOnly);
    EXPECT_FALSE(device.ok());
    return device.ok() ? "" : device.error().message();
  };
  EXPECT_NE(message(dir_.path()).find("is a directory"), std::string::npos);
  EXPECT_NE(message(dir_ / "none").find("no such file"), std::string::npos);
  test::write_file(dir_ / "empty", {});
  EXPECT_NE(message(dir_ / "empty").find("is empty"), std::string::npos);
  EXPECT_NE(message("/dev/null").find("neither a file nor a block device"), std::string::npos);
  ASSERT_EQ(0, mkfifo((dir_ / "pipe").c_str(), 0600));
  EXPECT_NE(message(dir_ / "pipe").find("is a pipe"), std::string::npos);
}

TEST_F(FileDeviceTest, TwoWritersAreRefusedAndReadersShare) {
  const std::string path = image();
  auto reader = open(path, Access::kReadOnly);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(open(path, Access::kReadOnly).ok());
  auto writer = open(path, Access::kReadWrite);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.error().message().find("is open in another program"), std::string::npos);
  reader->reset();
  writer = open(path, Access::kReadWrite);
  ASSERT_TRUE(writer.ok()) << writer.error().message();
  auto second = open(path, Access::kReadOnly);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message().find("open for writing"), std::string::npos);
  EXPECT_TRUE(notices_.items().empty());
  EXPECT_TRUE(open(path, Access::kInspect).ok()) << "looking is always possible";
  EXPECT_EQ(notices_.items().size(), 1U);
}

// QEMU shows itself by byte locks alone: a writer holds 101 and, not sharing it, 201.
TEST_F(FileDeviceTest, QemusLocksAreSeen) {
  const std::string path = image();
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  for (const off_t byte : {101, 201}) {
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    ASSERT_EQ(0, fcntl(fd, F_OFD_SETLK, &lock));
  }
  EXPECT_FALSE(open(path, Access::kReadWrite).ok());
  EXPECT_FALSE(open(path, Access::kReadOnly).ok());
  EXPECT_TRUE(has_writer(fd) || open(path, Access::kInspect).ok());
  close(fd);
  EXPECT_TRUE(open(path, Access::kReadWrite).ok());
}

TEST_F(FileDeviceTest, QemuIsKeptAway) {
  if (!test::have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const std::string path = image(65536);
  const std::string write = "qemu-io -f raw -c 'write 0 512' " + path;
  auto writer = open(path, Access::kReadWrite);
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(test::shell(write));
  writer->reset();
  {
    auto reader = open(path, Access::kReadOnly);
    EXPECT_FALSE(test::shell(write)) << "a reader keeps QEMU's writers away too";
    EXPECT_TRUE(test::shell("qemu-io -r -f raw -c 'read 0 512' " + path));
  }
  EXPECT_TRUE(test::shell(write));
}

TEST_F(FileDeviceTest, AFileThatShrankGivesEioNotACrash) {
  const std::string path = image();
  auto device = open(path, Access::kReadOnly);
  ASSERT_TRUE(device.ok());
  ASSERT_EQ(0, truncate(path.c_str(), 4096));
  ByteVector buffer(4096);
  EXPECT_TRUE((*device)->read(0, buffer).ok());
  EXPECT_EQ((*device)->read(4096, buffer).sys_errno(), EIO);
  const auto faults = take_faults();
  ASSERT_FALSE(faults.empty());
  EXPECT_NE(faults.front().find("shorter"), std::string::npos);
}

// A client that copies by block status would write zeros where the data was.
TEST_F(FileDeviceTest, WhatAShrunkFileLostIsNotReportedAsZeros) {
  const std::string path = dir_ / "shrunk";
  test::write_file(path, {});
  ASSERT_EQ(0, truncate(path.c_str(), 1 << 20));
  auto device = open(path, Access::kReadOnly);
  ASSERT_TRUE(device.ok());
  ASSERT_EQ(0, truncate(path.c_str(), 512 * 1024));
  const Extent there = (*device)->extent_at(0, 1 << 20);
  EXPECT_TRUE(!there.reads_as_zero || there.length <= 512U * 1024) << there.length;
  const Extent lost = (*device)->extent_at(512 * 1024, 512 * 1024);
  EXPECT_EQ(lost.length, 512U * 1024);
  EXPECT_TRUE(lost.allocated);
  EXPECT_FALSE(lost.reads_as_zero);
}

TEST_F(FileDeviceTest, HolesAreExtents) {
  const std::string path = dir_ / "sparse";
  test::write_file(path, {});
  ASSERT_EQ(0, truncate(path.c_str(), 1 << 20));
  auto device = open(path, Access::kReadWrite);
  ASSERT_TRUE(device.ok());
  ASSERT_TRUE((*device)->write(512 * 1024, ByteVector(4096, std::byte{1})).ok());
  const Extent hole = (*device)->extent_at(0, 1 << 20);
  if (hole.allocated) GTEST_SKIP() << "this file system has no holes";
  EXPECT_TRUE(hole.reads_as_zero);
  EXPECT_EQ(hole.length, 512U * 1024);
  const Extent data = (*device)->extent_at(512 * 1024, 8192);
  EXPECT_TRUE(data.allocated);
  EXPECT_EQ(data.length, 4096U);
}

TEST_F(FileDeviceTest, GrowsWithZeros) {
  const std::string path = image(1000);
  auto device = open(path, Access::kReadWrite);
  ASSERT_TRUE(device.ok());
  EXPECT_TRUE((*device)->grow_to(5000).ok());
  EXPECT_EQ((*device)->size_bytes(), 5000U);
  ByteVector tail(4000);
  EXPECT_TRUE((*device)->read(1000, tail).ok());
  EXPECT_EQ(tail, ByteVector(4000));
  EXPECT_TRUE((*device)->grow_to(10).ok()) << "never shrinks";
  EXPECT_EQ((*device)->size_bytes(), 5000U);
}

}  // namespace
}  // namespace latchkey::engine
