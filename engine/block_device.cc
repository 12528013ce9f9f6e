#include "engine/block_device.h"

#include <algorithm>
#include <array>

namespace latchkey::engine {

IoStatus BlockDevice::read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  if (!in_range(offset, into.size())) return IoCode::kOutOfRange;
  if (into.empty()) return {};
  return do_read(offset, into);
}

Loan BlockDevice::lend(std::uint64_t offset, std::size_t length) noexcept {
  if (writable_ || length == 0 || !in_range(offset, length)) return {};
  return do_lend(offset, length);
}

IoStatus BlockDevice::write(std::uint64_t offset, std::span<const std::byte> from,
                            WriteFlags flags) noexcept {
  if (!in_range(offset, from.size())) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (from.empty()) return {};
  const IoStatus written = do_write(offset, from);
  return written.ok() && has(flags, WriteFlags::kFua) ? do_flush() : written;
}

IoStatus BlockDevice::write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   WriteFlags flags) noexcept {
  if (!in_range(offset, length)) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (length == 0) return {};
  const IoStatus written = do_write_zeroes(offset, length, flags);
  return written.ok() && has(flags, WriteFlags::kFua) ? do_flush() : written;
}

IoStatus BlockDevice::discard(std::uint64_t offset, std::uint64_t length) noexcept {
  if (!in_range(offset, length)) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (length == 0) return {};
  return do_discard(offset, length);
}

IoStatus BlockDevice::flush() noexcept {
  return do_flush();
}

IoStatus BlockDevice::check_write(std::uint64_t offset, std::uint64_t length) noexcept {
  if (!in_range(offset, length)) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (length == 0) return {};
  return do_check_write(offset, length);
}

IoStatus BlockDevice::check_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (!in_range(offset, from.size())) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (from.empty()) return {};
  return do_check_bytes(offset, from);
}

IoStatus BlockDevice::check_write_zeroes(std::uint64_t offset, std::uint64_t length) noexcept {
  if (!in_range(offset, length)) return IoCode::kOutOfRange;
  if (!writable_) return IoCode::kReadOnly;
  if (length == 0) return {};
  return do_check_zeroes(offset, length);
}

Extent BlockDevice::extent_at(std::uint64_t offset, std::uint64_t length) const noexcept {
  if (length == 0 || !in_range(offset, length)) return {};
  return do_extent_at(offset, length);
}

void BlockDevice::prefetch(std::uint64_t offset, std::uint64_t length) noexcept {
  if (length > 0 && in_range(offset, length)) do_prefetch(offset, length);
}

Loan BlockDevice::do_lend(std::uint64_t, std::size_t) noexcept {
  return {};
}

IoStatus BlockDevice::do_write(std::uint64_t, std::span<const std::byte>) noexcept {
  return IoCode::kReadOnly;
}

IoStatus BlockDevice::do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                      WriteFlags flags) noexcept {
  if (has(flags, WriteFlags::kFastZero)) return IoCode::kNotSupported;
  static constexpr std::array<std::byte, std::size_t{64} * 1024> kZeros{};
  if (length > kZeros.size()) {
    // A refusal must change nothing, also where it comes for a later piece.
    if (const IoStatus status = do_check_zeroes(offset, length); !status.ok()) return status;
  }
  while (length > 0) {
    const std::size_t piece = std::min<std::uint64_t>(length, kZeros.size());
    if (const IoStatus status = do_write(offset, std::span(kZeros).first(piece)); !status.ok()) {
      return status;
    }
    offset += piece;
    length -= piece;
  }
  return {};
}

IoStatus BlockDevice::do_discard(std::uint64_t, std::uint64_t) noexcept {
  return {};
}
IoStatus BlockDevice::do_flush() noexcept {
  return {};
}
IoStatus BlockDevice::do_check_write(std::uint64_t, std::uint64_t) noexcept {
  return {};
}
IoStatus BlockDevice::do_check_bytes(std::uint64_t offset,
                                     std::span<const std::byte> from) noexcept {
  return do_check_write(offset, from.size());
}
IoStatus BlockDevice::do_check_zeroes(std::uint64_t offset, std::uint64_t length) noexcept {
  return do_check_write(offset, length);
}
Extent BlockDevice::do_extent_at(std::uint64_t, std::uint64_t length) const noexcept {
  return {.length = length, .allocated = true, .reads_as_zero = false};
}
void BlockDevice::do_prefetch(std::uint64_t, std::uint64_t) noexcept {}

IoStatus GrowableDevice::grow_to(std::uint64_t size_bytes) noexcept {
  if (!writable_) return IoCode::kReadOnly;
  const std::lock_guard lock(grow_mutex_);
  if (size_bytes <= this->size_bytes()) return {};
  const IoStatus status = do_grow_to(size_bytes);
  if (status.ok()) size_bytes_.store(size_bytes, std::memory_order_release);
  return status;
}

}  // namespace latchkey::engine
