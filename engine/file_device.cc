#include "engine/file_device.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file_lock.h"
#include "engine/unique_fd.h"

namespace latchkey::engine {
namespace {

Result<void> usage(const std::string& path, const std::string& what) {
  return Error(ErrorCode::kUsage, path + " " + what)
      .with_hint("give the image file itself, or a block device");
}

// Refuses what cannot be an image before it is opened: opening a FIFO or a socket would hang or
// give a puzzling errno.
Result<void> check_kind(const std::string& path, struct stat& about) {
  if (stat(path.c_str(), &about) != 0) return Error::system("cannot open " + path, errno);
  if (S_ISREG(about.st_mode) || S_ISBLK(about.st_mode)) return {};
  const char* what = S_ISDIR(about.st_mode)    ? "is a directory, not an image"
                     : S_ISSOCK(about.st_mode) ? "is a socket, not an image"
                     : S_ISFIFO(about.st_mode) ? "is a pipe, not an image"
                                               : "is neither a file nor a block device";
  return usage(path, what).error();
}

Result<Geometry> geometry_of(int fd, const struct stat& about, const std::string& path,
                             bool writable) {
  Geometry geometry{.size_bytes = 0, .sector_bytes = 512, .writable = writable};
  if (S_ISREG(about.st_mode)) {
    geometry.size_bytes = static_cast<std::uint64_t>(about.st_size);
  } else {
    int sector = 0;
    if (ioctl(fd, BLKGETSIZE64, &geometry.size_bytes) != 0 || ioctl(fd, BLKSSZGET, &sector) != 0) {
      return Error::system("cannot ask for the size of " + path, errno);
    }
    geometry.sector_bytes = static_cast<std::uint32_t>(std::clamp(sector, 512, 4096));
  }
  if (geometry.size_bytes == 0) return usage(path, "is empty").error();
  return geometry;
}

}  // namespace

Result<std::shared_ptr<FileDevice>> FileDevice::open(const std::string& path, Access access,
                                                     Notices& notices) {
  struct stat about {};
  if (auto kind = check_kind(path, about); !kind) return std::move(kind).error();
  const bool writable = access == Access::kReadWrite;
  const bool regular = S_ISREG(about.st_mode);
  int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
  if (writable && !regular) flags |= O_EXCL;
  UniqueFd fd(::open(path.c_str(), flags));
  if (fd.get() < 0) {
    const int reason = errno;
    Error error = Error::system("cannot open " + path, reason);
    if (reason == EBUSY) return std::move(error).with_hint("it is mounted or in use: unmount it");
    if (reason == EACCES || reason == EPERM) {
      return std::move(error).with_hint(writable ? "check the file's permissions, or leave out "
                                                   "--read-write"
                                                 : "check the file's permissions, or use sudo");
    }
    if (reason == EROFS) return std::move(error).with_hint("leave out --read-write");
    return error;
  }
  if (access == Access::kInspect) {
    if (has_writer(fd.get())) {
      notices.warn(path, "another program has it open for writing: this is a moving picture");
    }
  } else {
    const FileLock mode = writable ? FileLock::kExclusive : FileLock::kShared;
    if (auto locked = lock_file(fd.get(), mode, path, notices); !locked) {
      return std::move(locked).error();
    }
  }
  // Only now: a writer may have made it longer until the lock was ours.
  if (fstat(fd.get(), &about) != 0 || S_ISREG(about.st_mode) != regular) {
    return Error(ErrorCode::kSystem, path + " changed while it was opened");
  }
  auto geometry = geometry_of(fd.get(), about, path, writable);
  if (!geometry) return std::move(geometry).error();
  return std::shared_ptr<FileDevice>(new FileDevice(fd.release(), path, *geometry, regular));
}

FileDevice::FileDevice(int fd, std::string path, const Geometry& geometry, bool regular_file)
    : GrowableDevice(geometry),
      fd_(fd),
      path_(std::move(path)),
      regular_file_(regular_file),
      mapping_(regular_file && !geometry.writable ? FileMapping::map(fd, geometry.size_bytes)
                                                  : nullptr),
      faults_(path_) {}

FileDevice::~FileDevice() {
  close(fd_);
}

IoStatus FileDevice::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  while (!into.empty()) {
    const ssize_t n = pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const IoStatus status = n < 0 ? IoStatus::from_errno(errno) : IoStatus(IoCode::kFailed);
      faults_.report(n < 0 ? FaultKind::kRead : FaultKind::kShortRead, offset, status);
      return status;
    }
    offset += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Loan FileDevice::do_lend(std::uint64_t offset, std::size_t length) noexcept {
  if (!mapping_) return {};
  return {.bytes = mapping_->lend(offset, length), .lender = mapping_.get()};
}

IoStatus FileDevice::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (failed_.load(std::memory_order_acquire)) return IoCode::kFailed;
  while (!from.empty()) {
    const ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const IoStatus status = n < 0 ? IoStatus::from_errno(errno) : IoStatus(IoCode::kFailed);
      faults_.report(FaultKind::kWrite, offset, status);
      return status;
    }
    offset += static_cast<std::uint64_t>(n);
    from = from.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

IoStatus FileDevice::do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                     WriteFlags flags) noexcept {
  if (failed_.load(std::memory_order_acquire)) return IoCode::kFailed;
  const auto at = static_cast<off_t>(offset);
  const auto count = static_cast<off_t>(length);
  const bool may_punch = !has(flags, WriteFlags::kNoHole);
  if (may_punch && fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, count) == 0) {
    return {};
  }
  // On a block device the kernel may write the zeros out itself, which is not fast.
  const bool may_be_slow = !regular_file_;
  if (!(may_be_slow && has(flags, WriteFlags::kFastZero)) &&
      fallocate(fd_, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, count) == 0) {
    return {};
  }
  return BlockDevice::do_write_zeroes(offset, length, flags);
}

IoStatus FileDevice::do_discard(std::uint64_t offset, std::uint64_t length) noexcept {
  if (failed_.load(std::memory_order_acquire)) return IoCode::kFailed;
  // Advice: storage that cannot take the space back is not an error.
  (void)fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length));
  return {};
}

// One at a time: the kernel tells of lost pages once, so that of two syncs at the same time one
// would be told that all is well.
IoStatus FileDevice::do_flush() noexcept {
  if (!writable()) return {};
  const std::lock_guard lock(flush_mutex_);
  if (failed_.load(std::memory_order_acquire)) return IoCode::kFailed;
  int result = 0;
  do {
    result = fdatasync(fd_);
  } while (result != 0 && errno == EINTR);  // a network file system; nothing was decided yet
  if (result == 0) return {};
  // The kernel has marked the lost pages clean: a second sync would succeed and lie.
  const IoStatus status = IoStatus::from_errno(errno);
  failed_.store(true, std::memory_order_release);
  faults_.report(FaultKind::kFlush, 0, status);
  return status;
}

IoStatus FileDevice::do_check_write(std::uint64_t, std::uint64_t) noexcept {
  return failed_.load(std::memory_order_acquire) ? IoStatus(IoCode::kFailed) : IoStatus();
}

Extent FileDevice::do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept {
  const Extent data{.length = length, .allocated = true, .reads_as_zero = false};
  if (!regular_file_) return data;
  const auto at = static_cast<off_t>(offset);
  off_t next_data = lseek(fd_, at, SEEK_DATA);
  if (next_data < 0) {
    if (errno != ENXIO) return data;  // the file system cannot tell
    // No data up to the end of the file. What a file lost that shrank is not zeros: reading fails.
    next_data = lseek(fd_, 0, SEEK_END);
    if (next_data <= at) return data;
  }
  if (next_data != at) {
    return {.length = std::min(length, static_cast<std::uint64_t>(next_data) - offset),
            .allocated = false,
            .reads_as_zero = true};
  }
  const off_t next_hole = lseek(fd_, at, SEEK_HOLE);
  if (next_hole <= at) return data;
  return {.length = std::min(length, static_cast<std::uint64_t>(next_hole) - offset),
          .allocated = true,
          .reads_as_zero = false};
}

void FileDevice::do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept {
  posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
}

IoStatus FileDevice::do_grow_to(std::uint64_t size_bytes) noexcept {
  if (!regular_file_) return IoCode::kNoSpace;
  if (failed_.load(std::memory_order_acquire)) return IoCode::kFailed;
  int result = 0;
  do {
    result = ftruncate(fd_, static_cast<off_t>(size_bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  const IoStatus status = IoStatus::from_errno(errno);
  faults_.report(FaultKind::kAllocate, size_bytes, status);
  return status;
}

}  // namespace latchkey::engine
