// Devices for tests that count, fail on demand, or pretend to be longer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/block_device.h"

namespace latchkey::test {

// Passes everything on to the device below, unless told to fail.
class FaultDevice final : public engine::GrowableDevice {
 public:
  explicit FaultDevice(engine::DevicePtr below)
      : GrowableDevice(below->geometry()), below_(std::move(below)) {}

  // Reads (writes) that touch this byte fail. ~0: none.
  std::atomic<std::uint64_t> bad_read_byte{~0ULL};
  std::atomic<std::uint64_t> bad_write_byte{~0ULL};
  std::atomic<bool> fail_flush{false};
  std::atomic<int> flushes{0};
  std::atomic<int> writes{0};
  std::atomic<int> prefetches{0};

 private:
  static bool touches(std::uint64_t byte, std::uint64_t offset, std::uint64_t length) {
    return byte >= offset && byte - offset < length;
  }
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    if (touches(bad_read_byte, offset, into.size())) return engine::IoCode::kFailed;
    return below_->read(offset, into);
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    ++writes;
    if (touches(bad_write_byte, offset, from.size())) return engine::IoCode::kFailed;
    return below_->write(offset, from);
  }
  engine::IoStatus do_flush() noexcept override {
    ++flushes;
    return fail_flush ? engine::IoStatus(engine::IoCode::kFailed) : below_->flush();
  }
  void do_prefetch(std::uint64_t, std::uint64_t) noexcept override { ++prefetches; }
  engine::IoStatus do_grow_to(std::uint64_t size) noexcept override {
    auto* growable = dynamic_cast<engine::GrowableDevice*>(below_.get());
    return growable != nullptr ? growable->grow_to(size)
                               : engine::IoStatus(engine::IoCode::kNoSpace);
  }

  const engine::DevicePtr below_;
};

// The first `size` bytes of a longer device, as a file that can grow up to its capacity. What lies
// beyond is zeroed when it grows into it.
class GrowableView final : public engine::GrowableDevice {
 public:
  GrowableView(engine::DevicePtr below, std::uint64_t size_bytes)
      : GrowableDevice({size_bytes, below->geometry().sector_bytes, below->writable()}),
        below_(std::move(below)) {}

 private:
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    return below_->read(offset, into);
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    return below_->write(offset, from);
  }
  engine::IoStatus do_flush() noexcept override { return below_->flush(); }
  engine::IoStatus do_grow_to(std::uint64_t size) noexcept override {
    if (size > below_->size_bytes()) return engine::IoCode::kNoSpace;
    return below_->write_zeroes(size_bytes(), size - size_bytes());
  }

  const engine::DevicePtr below_;
};

}  // namespace latchkey::test
