// The answers to FUSE requests: what each operation means for a directory of devices. Internal to
// this folder; export_directory.h is the interface.
//
// Inode 1 is the directory, inode i + 2 is export i; the folders of exports with a '/' in their
// name follow. Called by any number of worker threads at once. Each worker lends its handlers a
// buffer (WorkerBuffer), so that no request allocates.
#pragma once

// The version of libfuse's interface that Debian 12 has: 3.14.
#define FUSE_USE_VERSION 314
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include <fuse3/fuse_lowlevel.h>
#include <sys/types.h>

#include "frontends/export.h"
#include "frontends/fuse/read_ahead.h"
#include "frontends/fuse/transfer_buffer.h"

namespace latchkey::frontends {

inline constexpr fuse_ino_t kFirstFileInode = FUSE_ROOT_ID + 1;

// The directory itself, or a folder in it.
struct ServedFolder {
  std::string name;
  fuse_ino_t inode = FUSE_ROOT_ID;
  std::vector<fuse_ino_t> children;
};

// What handlers see of the session; the userdata of every request. Immutable while serving, but for
// the counter.
struct ServedExports {
  ExportList list;
  uid_t owner = 0;
  gid_t group = 0;
  std::timespec mounted_at{};
  bool page_cache = false;          // DirectoryOptions; false where a device is writable
  ReadAhead* read_ahead = nullptr;  // where nothing is cached and nothing can be written
  // Writes the storage failed to take. A driver above (ext4 on a loop device) writes back long
  // after write(2) returned, so its user may never hear of them: close() says so.
  mutable std::atomic<std::uint64_t> lost_writes{0};
  // What stat(2) says is allocated, an export each. cp asks for holes only where it is less than
  // the size.
  std::vector<std::uint64_t> allocated_bytes;
  // The directory, then its folders. Files by the last part of their exports' names.
  std::vector<ServedFolder> folders;
  std::vector<std::string> file_names;

  // Sets `folders` and `file_names` from `list`.
  void arrange();
};

// The calling thread's transfer buffer while this lives. One per worker thread.
class WorkerBuffer {
 public:
  WorkerBuffer();
  ~WorkerBuffer();
  WorkerBuffer(const WorkerBuffer&) = delete;
  WorkerBuffer& operator=(const WorkerBuffer&) = delete;

 private:
  TransferBuffer buffer_;
};

// The bytes of a device that do not read as zeros, as far as a bounded look tells.
std::uint64_t count_allocated(const engine::BlockDevice& device) noexcept;

const fuse_lowlevel_ops& export_operations() noexcept;

}  // namespace latchkey::frontends
