// libfsxfs over a handle of libbfio's that reads from our device.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <libbfio.h>
#include <libfsxfs.h>
#include <sys/stat.h>

#include "engine/bytes.h"
#include "engine/filesystems/file_readers.h"
#include "engine/filesystems/read_file.h"

namespace latchkey::engine {
namespace {

// What libbfio calls an I/O handle: a position over the device.
struct Position {
  BoundedReader* reader;
  std::uint64_t at = 0;
};

Position& position(std::intptr_t* handle) {
  return *reinterpret_cast<Position*>(handle);
}

int forget(std::intptr_t** handle, libbfio_error_t** /*error*/) {
  *handle = nullptr;  // not managed: the position lives on our stack
  return 1;
}
int do_not_clone(std::intptr_t** /*to*/, std::intptr_t* /*from*/, libbfio_error_t** /*error*/) {
  return -1;
}
int open_for_reading(std::intptr_t* /*handle*/, int access, libbfio_error_t** /*error*/) {
  return (access & LIBBFIO_ACCESS_FLAG_WRITE) == 0 ? 1 : -1;
}
int nothing_to_close(std::intptr_t* /*handle*/, libbfio_error_t** /*error*/) {
  return 0;
}
int yes(std::intptr_t* /*handle*/, libbfio_error_t** /*error*/) {
  return 1;
}
ssize_t refuse_write(std::intptr_t* /*handle*/, const std::uint8_t* /*from*/, std::size_t /*size*/,
                     libbfio_error_t** /*error*/) {
  return -1;
}

ssize_t read_some(std::intptr_t* handle, std::uint8_t* into, std::size_t size,
                  libbfio_error_t** /*error*/) {
  Position& here = position(handle);
  const std::uint64_t end = here.reader->size_bytes();
  const auto count =
      static_cast<std::size_t>(std::min<std::uint64_t>(size, here.at < end ? end - here.at : 0));
  if (!here.reader->read(here.at, {reinterpret_cast<std::byte*>(into), count})) return -1;
  here.at += count;
  return static_cast<ssize_t>(count);
}

off64_t seek(std::intptr_t* handle, off64_t offset, int whence, libbfio_error_t** /*error*/) {
  Position& here = position(handle);
  std::int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<std::int64_t>(here.at);
  if (whence == SEEK_END) base = static_cast<std::int64_t>(here.reader->size_bytes());
  std::int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return -1;
  here.at = static_cast<std::uint64_t>(target);
  return target;
}

int size_of(std::intptr_t* handle, size64_t* size, libbfio_error_t** /*error*/) {
  *size = position(handle).reader->size_bytes();
  return 1;
}

// The library's error objects, freed; their words name its functions, which help nobody.
class LibraryError {
 public:
  LibraryError() = default;
  ~LibraryError() { libfsxfs_error_free(&error_); }
  LibraryError(const LibraryError&) = delete;
  LibraryError& operator=(const LibraryError&) = delete;
  libfsxfs_error_t** out() noexcept {
    libfsxfs_error_free(&error_);
    return &error_;
  }

 private:
  libfsxfs_error_t* error_ = nullptr;
};

struct FreeHandle {
  void operator()(libbfio_handle_t* one) const noexcept { libbfio_handle_free(&one, nullptr); }
};
struct FreeVolume {
  void operator()(libfsxfs_volume_t* one) const noexcept { libfsxfs_volume_free(&one, nullptr); }
};
struct FreeEntry {
  void operator()(libfsxfs_file_entry_t* one) const noexcept {
    libfsxfs_file_entry_free(&one, nullptr);
  }
};

Error failed(const std::string& what) {
  return {ErrorCode::kDamaged, what};
}

Result<FileBytes> read_entry(libfsxfs_file_entry_t* entry, LibraryError& error) {
  std::uint16_t mode = 0;
  if (libfsxfs_file_entry_get_file_mode(entry, &mode, error.out()) != 1) {
    return failed("its inode cannot be read");
  }
  if (!S_ISREG(mode)) return not_a_regular_file();
  size64_t size = 0;
  if (libfsxfs_file_entry_get_size(entry, &size, error.out()) != 1) {
    return failed("its size cannot be read");
  }
  if (size > kMaxReadFileBytes) return file_too_large(size);
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t got = libfsxfs_file_entry_read_buffer_at_offset(
        entry, bytes.data() + at, bytes.size() - at, static_cast<off64_t>(at), error.out());
    if (got <= 0) return failed(fmt::format("it cannot be read at {}", at));
    at += static_cast<std::size_t>(got);
  }
  return FileBytes(std::move(bytes));
}

}  // namespace

Result<FileBytes> read_xfs_file(BoundedReader& reader, const std::string& path) {
  LibraryError error;
  Position start{&reader};
  libbfio_handle_t* raw_handle = nullptr;
  if (libbfio_handle_initialize(
          &raw_handle, reinterpret_cast<std::intptr_t*>(&start), forget, do_not_clone,
          open_for_reading, nothing_to_close, read_some, refuse_write, seek, yes, yes, size_of,
          LIBBFIO_FLAG_IO_HANDLE_NON_MANAGED | LIBBFIO_FLAG_IO_HANDLE_CLONE_BY_FUNCTION,
          error.out()) != 1) {
    return failed("the xfs file system cannot be opened");
  }
  const std::unique_ptr<libbfio_handle_t, FreeHandle> handle(raw_handle);
  libfsxfs_volume_t* raw_volume = nullptr;
  if (libfsxfs_volume_initialize(&raw_volume, error.out()) != 1) {
    return failed("the xfs file system cannot be opened");
  }
  const std::unique_ptr<libfsxfs_volume_t, FreeVolume> volume(raw_volume);
  if (libfsxfs_volume_open_file_io_handle(volume.get(), handle.get(), LIBFSXFS_OPEN_READ,
                                          error.out()) != 1) {
    return failed("the xfs file system cannot be opened");
  }
  const std::string absolute = "/" + path;
  libfsxfs_file_entry_t* raw_entry = nullptr;
  const int found = libfsxfs_volume_get_file_entry_by_utf8_path(
      volume.get(), reinterpret_cast<const std::uint8_t*>(absolute.data()), absolute.size(),
      &raw_entry, error.out());
  if (found == 0) return FileBytes();
  if (found != 1) return failed("its folder cannot be read");
  const std::unique_ptr<libfsxfs_file_entry_t, FreeEntry> entry(raw_entry);
  return read_entry(entry.get(), error);
}

}  // namespace latchkey::engine
