#include "engine/memory_device.h"

#include <algorithm>

namespace latchkey::engine {

MemoryDevice::MemoryDevice(std::vector<std::byte> bytes, bool writable, std::uint32_t sector_bytes)
    : GrowableDevice({bytes.size(), sector_bytes, writable}), bytes_(std::move(bytes)) {}

std::vector<std::byte> MemoryDevice::copy_bytes() const {
  const std::shared_lock lock(mutex_);
  return bytes_;
}

IoStatus MemoryDevice::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  const std::shared_lock lock(mutex_);
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
  return {};
}

IoStatus MemoryDevice::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const std::unique_lock lock(mutex_);
  std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  return {};
}

IoStatus MemoryDevice::do_grow_to(std::uint64_t size_bytes) noexcept {
  const std::unique_lock lock(mutex_);
  try {
    bytes_.resize(size_bytes);
  } catch (const std::exception&) {
    return IoCode::kNoSpace;
  }
  return {};
}

}  // namespace latchkey::engine
