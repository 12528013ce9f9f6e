// Mounting, stopping and ending: nothing hangs, nothing stays mounted, no failed flush goes unsaid.
#include <array>
#include <future>
#include <thread>

#include <sys/stat.h>

#include "tests/fuse/mounted_exports.h"

namespace latchkey::frontends {
namespace {

using engine::IoCode;
using engine::MemoryDevice;

class DirectoryLife : public FuseTest {
 protected:
  bool is_mounted() const {
    struct stat here {};
    struct stat above {};
    EXPECT_EQ(stat(directory_.c_str(), &here), 0);
    EXPECT_EQ(stat((directory_ + "/..").c_str(), &above), 0);
    return here.st_dev != above.st_dev;
  }
};

TEST_F(DirectoryLife, UnmountEndsTheWait) {
  mount_one(std::make_shared<MemoryDevice>(random_bytes(8192, 1)));
  EXPECT_TRUE(is_mounted());
  ASSERT_EQ(unmount(directory_), 0);
  EXPECT_EQ(mounted_->wait(-1), ExportDirectory::Ending::kUnmounted);
  EXPECT_TRUE(mounted_->close().ok());
  EXPECT_FALSE(is_mounted());
}

TEST_F(DirectoryLife, StopUnmounts) {
  mount_one(std::make_shared<MemoryDevice>(random_bytes(8192, 2)));
  const FileDescriptor stop(eventfd(0, EFD_CLOEXEC));
  ASSERT_EQ(eventfd_write(stop.get(), 1), 0);
  EXPECT_EQ(mounted_->wait(stop.get()), ExportDirectory::Ending::kStopRequested);
  EXPECT_TRUE(is_mounted());
  EXPECT_TRUE(mounted_->close().ok());
  EXPECT_FALSE(is_mounted());
  EXPECT_TRUE(mounted_->close().ok());  // a second time: nothing left to do
}

// A file is open and a read is being worked on: the read is finished, then everything is refused.
TEST_F(DirectoryLife, StopWhileBusyFinishesWhatWasAccepted) {
  const auto content = random_bytes(1 << 20, 3);
  auto device = std::make_shared<ScriptedDevice>(content, true);
  mount_one(device);
  const FileDescriptor disk(file(), O_RDWR);
  device->close_gate();
  std::vector<std::byte> into(4096);
  auto read = std::async(std::launch::async,
                         [&] { return pread(disk.get(), into.data(), into.size(), 4096); });
  device->wait_for_reader();
  auto closed = std::async(std::launch::async, [&] { return mounted_->close(); });
  device->open_gate();
  EXPECT_TRUE(closed.get().ok());
  EXPECT_EQ(read.get(), 4096);
  EXPECT_EQ(std::memcmp(into.data(), content.data() + 4096, 4096), 0);
  EXPECT_EQ(pread(disk.get(), into.data(), into.size(), 0), -1);
  EXPECT_TRUE(errno == ENOTCONN || errno == ECONNABORTED) << errno;
  EXPECT_FALSE(is_mounted());
}

// Workers asleep in read(2) and workers in the middle of requests are both woken, every time.
TEST_F(DirectoryLife, EveryStopComesToAnEnd) {
  for (int round = 0; round < 40; ++round) {
    mount_one(std::make_shared<MemoryDevice>(random_bytes(1 << 20, 4)));
    std::vector<std::thread> readers;
    readers.resize(static_cast<std::size_t>(round % 4));
    for (std::thread& reader : readers) {
      reader = std::thread([this] {
        const FileDescriptor disk(file(), O_RDONLY | O_DIRECT);
        std::vector<std::byte> into(65536);
        while (pread(disk.get(), into.data(), into.size(), 0) > 0) {
        }
      });
    }
    EXPECT_TRUE(mounted_->close().ok());
    for (auto& reader : readers) reader.join();
    EXPECT_FALSE(is_mounted());
    mounted_.reset();
  }
}

TEST_F(DirectoryLife, HiddenDirectoryServesUntilItsLastUser) {
  const auto content = random_bytes(1 << 20, 5);
  mount_one(std::make_shared<MemoryDevice>(content));
  FileDescriptor disk(file(), O_RDONLY);
  const auto hidden = mounted_->hide();
  ASSERT_TRUE(hidden.ok()) << hidden.error().message();
  EXPECT_FALSE(is_mounted());
  std::vector<std::byte> into(content.size());
  ASSERT_EQ(pread(disk.get(), into.data(), into.size(), 0), static_cast<ssize_t>(into.size()));
  EXPECT_TRUE(into == content);
  auto ending = std::async(std::launch::async, [&] { return mounted_->wait(-1); });
  disk.close();
  EXPECT_EQ(ending.get(), ExportDirectory::Ending::kUnmounted);
  EXPECT_TRUE(mounted_->close().ok());
}

TEST_F(DirectoryLife, HiddenDirectoryCanBeStopped) {
  mount_one(std::make_shared<MemoryDevice>(random_bytes(8192, 6)));
  const FileDescriptor disk(file(), O_RDONLY | O_DIRECT);
  ASSERT_TRUE(mounted_->hide().ok());
  EXPECT_TRUE(mounted_->close().ok());
  std::array<char, 512> into{};
  EXPECT_EQ(pread(disk.get(), into.data(), into.size(), 0), -1);
}

TEST_F(DirectoryLife, CloseFlushesWritableDevices) {
  auto first = std::make_shared<ScriptedDevice>(random_bytes(8192, 7), true);
  auto second = std::make_shared<ScriptedDevice>(random_bytes(8192, 7), true);
  auto fixed = std::make_shared<ScriptedDevice>(random_bytes(8192, 7), false);
  first->flush_status.store(IoCode::kFailed);
  mount({{{"disk", "", first}, {"p1", "", second}, {"p2", "", fixed}}, 0});
  ASSERT_EQ(unmount(directory_), 0);
  EXPECT_EQ(mounted_->wait(-1), ExportDirectory::Ending::kUnmounted);
  const auto closed = mounted_->close();
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message().find("disk: "), std::string::npos) << closed.error().message();
  EXPECT_NE(closed.error().message().find("flush"), std::string::npos);
  EXPECT_FALSE(closed.error().hint().empty());
  EXPECT_EQ(first->flushes, 1);
  EXPECT_EQ(second->flushes, 1);
  EXPECT_EQ(fixed->flushes, 0);
}

// A loop device's user may never see the error of a write: it is not forgotten.
TEST_F(DirectoryLife, CloseTellsOfLostWrites) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(8192, 7), true);
  mount_one(device);
  {
    const FileDescriptor disk(file(), O_RDWR);
    ASSERT_EQ(pwrite(disk.get(), "x", 1, 0), 1);
    device->write_status.store(IoCode::kSealed);
    ASSERT_EQ(pwrite(disk.get(), "x", 1, 0), -1);  // refused, and said so: nothing is lost
    device->write_status.store(IoCode::kNoSpace);
    ASSERT_EQ(pwrite(disk.get(), "x", 1, 0), -1);
    device->write_status.store(engine::IoStatus());
    ASSERT_EQ(pwrite(disk.get(), "x", 1, 0), 1);
  }
  const auto closed = mounted_->close();
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message().find("a write failed"), std::string::npos)
      << closed.error().message();
  EXPECT_EQ(device->flushes, 1);
}

TEST_F(DirectoryLife, MissingMountPointIsAnError) {
  auto result = ExportDirectory::mount(
      directory_ + "/absent",
      {{{"disk", "", std::make_shared<MemoryDevice>(random_bytes(1, 8))}}, 0}, {});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), engine::ErrorCode::kSystem);
  EXPECT_NE(result.error().message().find("absent"), std::string::npos) << result.error().message();
}

// Commas and backslashes in a path must not become mount options.
TEST_F(DirectoryLife, SourceNameIsNotAnOption) {
  DirectoryOptions options;
  options.source = "a,suid\\,b\n";
  auto result = ExportDirectory::mount(
      directory_, {{{"disk", "", std::make_shared<MemoryDevice>(random_bytes(512, 9))}}, 0},
      options);
  ASSERT_TRUE(result.ok()) << result.error().message();
  mounted_ = std::move(result).value();
  EXPECT_TRUE(is_mounted());
}

}  // namespace
}  // namespace latchkey::frontends
