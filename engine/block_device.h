// The one data interface: a byte-addressed, random-access device.
//
// Contract, for every device:
//  - Thread-safe: any number of threads may call anything at the same time. Overlapping concurrent
//    writes leave each byte with one writer's value; nothing more is promised.
//  - Byte-granular: any offset and length inside size_bytes; length 0 succeeds. The public
//    functions here check the range (as length <= size - offset) and the writable flag once, so
//    that the virtual do_ functions may rely on both.
//  - Synchronous. What a failed read left in its buffer is not data.
//  - Nothing is durable before flush() (or a write with kFua) returned ok. After a flush has failed
//    once, every later flush and write of that device fails: the kernel has dropped the pages.
//  - No exception leaves these functions; nothing on the request path allocates or logs.
// Devices own those below them through shared_ptr.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "engine/io_status.h"

namespace latchkey::engine {

struct Geometry {
  std::uint64_t size_bytes = 0;
  std::uint32_t sector_bytes = 512;  // the unit the device prefers; advice only
  bool writable = false;
};

enum class WriteFlags : std::uint8_t {
  kNone = 0,
  kFua = 1,       // durable when the call returns
  kNoHole = 2,    // write_zeroes: keep the space allocated
  kFastZero = 4,  // write_zeroes: fail with kNotSupported rather than write zeros out
};
constexpr WriteFlags operator|(WriteFlags a, WriteFlags b) noexcept {
  return static_cast<WriteFlags>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool has(WriteFlags flags, WriteFlags flag) noexcept {
  return (static_cast<unsigned>(flags) & static_cast<unsigned>(flag)) != 0;
}

// Two independent facts about the first `length` bytes asked for.
struct Extent {
  std::uint64_t length = 0;
  bool allocated = true;       // false: NBD's HOLE
  bool reads_as_zero = false;  // true: NBD's ZERO
};

// Whoever lends bytes, see BlockDevice::lend(). Any thread; outlives its loans.
class Lender {
 public:
  virtual ~Lender() = default;
  virtual bool intact(std::span<const std::byte> bytes) const noexcept = 0;
};

// Bytes of a device where it has them in memory, to be used in place of a copy. They may turn bad
// while they are used (a file that shrank, storage that failed): what was made from them counts
// only if intact() says so afterwards. If not, read() says what is wrong.
struct Loan {
  std::span<const std::byte> bytes;  // empty: nothing is lent
  const Lender* lender = nullptr;

  bool intact() const noexcept { return lender->intact(bytes); }
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  Geometry geometry() const noexcept { return {size_bytes(), sector_bytes_, writable_}; }
  std::uint64_t size_bytes() const noexcept { return size_bytes_.load(std::memory_order_acquire); }
  bool writable() const noexcept { return writable_; }

  IoStatus read(std::uint64_t offset, std::span<std::byte> into) noexcept;
  // All of the range, for as long as the device lives, or nothing: then it has to be read. Devices
  // that can be written lend nothing.
  Loan lend(std::uint64_t offset, std::size_t length) noexcept;
  IoStatus write(std::uint64_t offset, std::span<const std::byte> from,
                 WriteFlags flags = WriteFlags::kNone) noexcept;
  IoStatus write_zeroes(std::uint64_t offset, std::uint64_t length,
                        WriteFlags flags = WriteFlags::kNone) noexcept;
  // Gives the range back to the storage. What it reads as afterwards is not defined above a cipher.
  IoStatus discard(std::uint64_t offset, std::uint64_t length) noexcept;
  IoStatus flush() noexcept;

  // Would a write of this range be taken? Asks every device below; writes nothing. Front ends that
  // apply a request in pieces ask for the whole of it first. kOnlyZeros: part of the range takes
  // zeros and nothing else, so it depends on the bytes; the other two settle it.
  IoStatus check_write(std::uint64_t offset, std::uint64_t length) noexcept;
  IoStatus check_write(std::uint64_t offset, std::span<const std::byte> from) noexcept;
  IoStatus check_write_zeroes(std::uint64_t offset, std::uint64_t length) noexcept;

  // What is known about [offset, offset + n) with 0 < n <= length; `length` must be positive and in
  // range (else n is 0). Never fails: what is not known is allocated and not zero.
  Extent extent_at(std::uint64_t offset, std::uint64_t length) const noexcept;

  // A hint that this range is about to be read. Never blocks for long, never fails.
  void prefetch(std::uint64_t offset, std::uint64_t length) noexcept;

  // Does offset/length lie inside the device? No overflow for any input.
  bool in_range(std::uint64_t offset, std::uint64_t length) const noexcept {
    const std::uint64_t size = size_bytes();
    return offset <= size && length <= size - offset;
  }

 protected:
  explicit BlockDevice(const Geometry& geometry) noexcept
      : size_bytes_(geometry.size_bytes),
        sector_bytes_(geometry.sector_bytes),
        writable_(geometry.writable) {}

  // Called with a positive length inside the device; the writing ones only where writable.
  virtual IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept = 0;
  virtual Loan do_lend(std::uint64_t offset, std::size_t length) noexcept;
  virtual IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept;
  // Default: writes zeros in pieces with do_write(); kFastZero is refused.
  virtual IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   WriteFlags flags) noexcept;
  virtual IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept;
  virtual IoStatus do_flush() noexcept;
  virtual IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept;
  // Default: do_check_write(), right wherever other bytes go down than came in (a cipher's), since
  // nobody can say of those that they are zeros.
  virtual IoStatus do_check_bytes(std::uint64_t offset, std::span<const std::byte> from) noexcept;
  virtual IoStatus do_check_zeroes(std::uint64_t offset, std::uint64_t length) noexcept;
  virtual Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept;
  virtual void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept;

 private:
  friend class GrowableDevice;
  std::atomic<std::uint64_t> size_bytes_;
  const std::uint32_t sector_bytes_;
  const bool writable_;
};

// A device that a container may make longer: a regular file. The only kind whose size changes, and
// it never shrinks. New bytes read as zeros.
class GrowableDevice : public BlockDevice {
 public:
  // No effect where it is that long already. kNoSpace where the storage cannot grow.
  IoStatus grow_to(std::uint64_t size_bytes) noexcept;

 protected:
  using BlockDevice::BlockDevice;
  virtual IoStatus do_grow_to(std::uint64_t size_bytes) noexcept = 0;

 private:
  std::mutex grow_mutex_;
};

using DevicePtr = std::shared_ptr<BlockDevice>;

}  // namespace latchkey::engine
