// Turns a device that takes whole sectors into a byte-granular one, by reading, merging and writing
// back the partial sectors at both ends of a write.
//
// The only place in the project where alignment is handled: maps, disk views and front ends above
// never round. Every writer, aligned or not, takes a lock on the sectors it touches, so that a
// merge cannot bring back what another thread has just overwritten. Reads take no lock; they notice
// a writer in their sectors (write_clock.h) and read again, so that no byte is ever decrypted from
// a sector that is half old and half new.
#pragma once

#include "engine/block_device.h"
#include "engine/range_lock.h"
#include "engine/write_clock.h"

namespace latchkey::engine {

inline constexpr std::uint32_t kMaxSectorBytes = 4096;

class SectorAligner final : public BlockDevice {
 public:
  // `sector_bytes`: a power of two, at most kMaxSectorBytes, that divides the size of `below`.
  SectorAligner(DevicePtr below, std::uint32_t sector_bytes);

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_flush() noexcept override;
  IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept override;
  Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override;
  void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept override;

  IoStatus read_once(std::uint64_t offset, std::span<std::byte> into) noexcept;
  IoStatus merge_sector(std::uint64_t offset, std::span<const std::byte> from) noexcept;

  const DevicePtr below_;
  const std::uint32_t sector_bytes_;
  RangeLock writers_;
  WriteClock clock_;
};

}  // namespace latchkey::engine
