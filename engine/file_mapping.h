// A file that is read through the memory of the page cache, without a copy.
//
// What can go wrong with a mapping is survived here: storage that fails and a file that shrinks
// raise SIGBUS in whoever touches the page. The handler notes that the mapping has failed, puts
// zeros there and lets the reader go on; the reader asks intact() when it is done, and counts what
// it made from the bytes only then. A mapping that has failed once lends nothing any more: pread()
// tells what is wrong. A SIGBUS anywhere else goes to the handler that was there before.
//
// Resident memory is bounded: pages that were lent leave the mapping (not the page cache) again
// after a few MiB. Thread-safe. The descriptor belongs to the caller and outlives the mapping.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/block_device.h"
#include "engine/bytes.h"

namespace latchkey::engine {

struct MappedRegion;

class FileMapping final : public Lender {
 public:
  // Null where the file cannot be mapped, the process has too many mapped, or the kernel does not
  // tell us what of it is in the page cache.
  static std::unique_ptr<FileMapping> map(int fd, std::uint64_t size_bytes);
  ~FileMapping() override;
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  // [offset, offset + length) of the file, where both ends of it are in the page cache; else
  // nothing: reading is the faster way to get it there. At most 1 MiB.
  Bytes lend(std::uint64_t offset, std::size_t length) noexcept;
  bool intact(Bytes bytes) const noexcept override;

 private:
  FileMapping(int fd, std::byte* base, std::uint64_t size_bytes, MappedRegion& region) noexcept
      : fd_(fd), base_(base), size_bytes_(size_bytes), region_(region) {}
  bool is_cached(std::uint64_t offset) const noexcept;

  const int fd_;
  std::byte* const base_;
  const std::uint64_t size_bytes_;
  MappedRegion& region_;
  std::atomic<std::uint64_t> lent_bytes_{0};  // since pages were last let go
};

}  // namespace latchkey::engine
