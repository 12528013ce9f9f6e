// A device whose bytes are held in memory: made-up sectors of a format, and tests. The lock keeps
// overlapping access by several threads defined; it is not meant for a fast path.
#pragma once

#include <shared_mutex>
#include <vector>

#include "engine/block_device.h"

namespace latchkey::engine {

class MemoryDevice final : public GrowableDevice {
 public:
  explicit MemoryDevice(std::vector<std::byte> bytes, bool writable = false,
                        std::uint32_t sector_bytes = 512);

  std::vector<std::byte> copy_bytes() const;

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_grow_to(std::uint64_t size_bytes) noexcept override;

  mutable std::shared_mutex mutex_;
  std::vector<std::byte> bytes_;
};

}  // namespace latchkey::engine
