// What the FUSE tests share: a mounted directory that is gone when the test ends, however it ends,
// and devices that can be told to fail, to wait, or to have holes.
#pragma once

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include "engine/memory_device.h"
#include "frontends/fuse/export_directory.h"

namespace latchkey::frontends {

inline std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
  return bytes;
}

// Memory whose operations do what the test says. Counters are read after the requests are done.
class ScriptedDevice final : public engine::BlockDevice {
 public:
  explicit ScriptedDevice(std::vector<std::byte> bytes, bool writable)
      : BlockDevice({bytes.size(), 512, writable}), bytes_(std::move(bytes)) {}

  std::atomic<engine::IoStatus> read_status{};
  std::atomic<engine::IoStatus> write_status{};
  std::atomic<engine::IoStatus> flush_status{};
  std::atomic<int> flushes{0};
  std::atomic<int> fast_zeroes{0};
  std::atomic<int> slow_zeroes{0};
  std::atomic<bool> fast_zero_supported{true};

  // Each: the offset where it ends, and what is before it. Behind the last: data.
  void set_extents(std::vector<std::pair<std::uint64_t, engine::Extent>> extents) {
    const std::lock_guard lock(bytes_mutex_);
    extents_ = std::move(extents);
  }

  // The next reads wait until open_gate(); wait_for_reader() returns when one has arrived.
  void close_gate() {
    const std::lock_guard lock(mutex_);
    gate_closed_ = true;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    gate_closed_ = false;
    changed_.notify_all();
  }
  void wait_for_reader() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return readers_waiting_ > 0; });
  }
  std::vector<std::byte> bytes() const {
    const std::lock_guard lock(bytes_mutex_);
    return bytes_;
  }

 private:
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    {
      std::unique_lock lock(mutex_);
      ++readers_waiting_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !gate_closed_; });
      --readers_waiting_;
    }
    const std::lock_guard lock(bytes_mutex_);
    std::memcpy(into.data(), bytes_.data() + offset, into.size());
    return read_status;
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    const engine::IoStatus status = write_status;
    if (!status.ok()) return status;
    const std::lock_guard lock(bytes_mutex_);
    std::memcpy(bytes_.data() + offset, from.data(), from.size());
    return {};
  }
  engine::IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   engine::WriteFlags flags) noexcept override {
    const bool fast = has(flags, engine::WriteFlags::kFastZero);
    if (fast && !fast_zero_supported) return engine::IoCode::kNotSupported;
    ++(fast ? fast_zeroes : slow_zeroes);
    const std::lock_guard lock(bytes_mutex_);
    std::memset(bytes_.data() + offset, 0, length);
    return {};
  }
  engine::IoStatus do_flush() noexcept override {
    ++flushes;
    return flush_status;
  }
  engine::Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override {
    const std::lock_guard lock(bytes_mutex_);
    for (const auto& [end, extent] : extents_) {
      if (offset >= end) continue;
      return {std::min(length, end - offset), extent.allocated, extent.reads_as_zero};
    }
    return {length, true, false};
  }

  mutable std::mutex bytes_mutex_;  // also of extents_
  std::vector<std::byte> bytes_;
  std::vector<std::pair<std::uint64_t, engine::Extent>> extents_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool gate_closed_ = false;
  int readers_waiting_ = 0;
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {
    open_errno_ = fd_ < 0 ? errno : 0;
  }
  ~FileDescriptor() { close(); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }
  int open_errno() const { return open_errno_; }

 private:
  int fd_;
  int open_errno_ = 0;
};

inline int unmount(const std::string& directory) {
  if (umount2(directory.c_str(), UMOUNT_NOFOLLOW) == 0) return 0;
  if (errno != EPERM) return errno;
  return std::system(("fusermount3 -u '" + directory + "'").c_str()) == 0 ? 0 : EBUSY;
}

// A temporary directory, and what is mounted on it.
class FuseTest : public testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/fuse", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "/dev/fuse cannot be used here: " << std::strerror(errno);
    }
    std::string pattern =
        (std::filesystem::temp_directory_path() / "latchkey-fuse.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr) << std::strerror(errno);
    directory_ = pattern;
  }
  void TearDown() override {
    mounted_.reset();
    if (!directory_.empty()) rmdir(directory_.c_str());
  }

  void mount(ExportList exports) {
    auto result = ExportDirectory::mount(directory_, std::move(exports), {});
    ASSERT_TRUE(result.ok()) << result.error().message();
    mounted_ = std::move(result).value();
  }
  void mount_one(engine::DevicePtr device) { mount({{{"disk", "a test", std::move(device)}}, 0}); }
  std::string file(const std::string& name = "disk") const { return directory_ + "/" + name; }

  std::string directory_;
  std::unique_ptr<ExportDirectory> mounted_;
};

}  // namespace latchkey::frontends
