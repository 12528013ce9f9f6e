// The bottom of every stack: a regular file or a block device, by pread and pwrite. A regular file
// that is only read lends its bytes out of the page cache, too.
//
// A reader holds a shared lock and a writer an exclusive one: flock() and, for QEMU, the byte locks
// it looks at (file_lock.h). Block devices are opened O_EXCL for writing. Read-only means opened
// O_RDONLY. Owns its descriptor. Thread-safe. A short read inside the size the file had when it was
// opened is EIO; after one failed sync every later write and flush fails.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "engine/block_device.h"
#include "engine/fault_log.h"
#include "engine/file_mapping.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

enum class Access {
  kInspect,    // read only, no lock: a writer elsewhere is a warning, not an error
  kReadOnly,   // read only; refused while somebody writes
  kReadWrite,  // refused while anybody else has it open
};

class FileDevice final : public GrowableDevice {
 public:
  // Errors: kSystem (cannot be opened), kUsage (a directory, a socket, an empty file), kSystem
  // (locked by another process; the message says so).
  static Result<std::shared_ptr<FileDevice>> open(const std::string& path, Access access,
                                                  Notices& notices);
  ~FileDevice() override;

  const std::string& path() const noexcept { return path_; }

 private:
  FileDevice(int fd, std::string path, const Geometry& geometry, bool regular_file);
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  Loan do_lend(std::uint64_t offset, std::size_t length) noexcept override;
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                           WriteFlags flags) noexcept override;
  IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_flush() noexcept override;
  IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept override;
  Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override;
  void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_grow_to(std::uint64_t size_bytes) noexcept override;

  const int fd_;
  const std::string path_;
  const bool regular_file_;
  const std::unique_ptr<FileMapping> mapping_;  // null where there is none
  std::mutex flush_mutex_;
  std::atomic<bool> failed_{false};
  FaultReporter faults_;
};

}  // namespace latchkey::engine
