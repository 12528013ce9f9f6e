// A device in memory that does as a test tells it: fails here, takes no writes there, waits at a
// gate, and keeps a list of what it was asked. Thread-safe like any device.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "engine/block_device.h"

namespace latchkey::frontends {

class ScriptedDevice final : public engine::BlockDevice {
 public:
  struct Event {
    std::string what;  // "read", "write", "zero", "discard", "flush", "prefetch"
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool operator==(const Event&) const = default;
  };

  ScriptedDevice(std::uint64_t size_bytes, bool writable, std::uint32_t sector_bytes = 512)
      : BlockDevice({size_bytes, sector_bytes, writable}), bytes_(size_bytes) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = pattern(i);
  }

  // What a byte is before anybody wrote it: different in every sector and every page.
  static std::byte pattern(std::uint64_t offset) {
    return static_cast<std::byte>((offset * 31 + offset / 509 + offset / 65521) & 0xff);
  }

  void fail_reads(std::uint64_t offset, engine::IoStatus status) {
    const std::lock_guard lock(mutex_);
    bad_read_ = offset;
    read_status_ = status;
  }
  void seal(std::uint64_t offset, std::uint64_t length) {
    const std::lock_guard lock(mutex_);
    sealed_ = {"", offset, length};
  }
  void fail_flushes(engine::IoStatus status) {
    const std::lock_guard lock(mutex_);
    flush_status_ = status;
  }
  // From now on every read waits until open_gate().
  void close_gate() {
    const std::lock_guard lock(mutex_);
    gate_open_ = false;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    gate_open_ = true;
    changed_.notify_all();
  }
  // Zero and unallocated, every other `unit` bytes from `unit` on.
  void set_stripes(std::uint64_t unit) {
    const std::lock_guard lock(mutex_);
    stripe_ = unit;
  }

  // Waits until `count` events named `what` have begun.
  void wait_for(const std::string& what, std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return counted(what) >= count; });
  }
  std::size_t count(const std::string& what) {
    const std::lock_guard lock(mutex_);
    return counted(what);
  }
  std::vector<Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  std::vector<std::byte> bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  std::size_t counted(const std::string& what) const {
    return static_cast<std::size_t>(std::count_if(
        events_.begin(), events_.end(), [&](const Event& event) { return event.what == what; }));
  }
  void note(const char* what, std::uint64_t offset, std::uint64_t length) {
    events_.push_back({what, offset, length});
    changed_.notify_all();
  }
  static bool overlaps(const Event& range, std::uint64_t offset, std::uint64_t length) {
    return offset < range.offset + range.length && range.offset < offset + length;
  }

  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    std::unique_lock lock(mutex_);
    note("read", offset, into.size());
    changed_.wait(lock, [this] { return gate_open_; });
    if (overlaps({"", bad_read_, 1}, offset, into.size())) {
      // what a failed read left behind must never be sent: make it easy to recognise
      std::ranges::fill(into, std::byte{0xdb});
      return read_status_;
    }
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return {};
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    const std::lock_guard lock(mutex_);
    note("write", offset, from.size());
    if (overlaps(sealed_, offset, from.size())) return engine::IoCode::kSealed;
    std::ranges::copy(from, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  engine::IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   engine::WriteFlags flags) noexcept override {
    const std::lock_guard lock(mutex_);
    note(engine::has(flags, engine::WriteFlags::kNoHole) ? "zero no hole" : "zero", offset, length);
    if (engine::has(flags, engine::WriteFlags::kFastZero)) return engine::IoCode::kNotSupported;
    if (overlaps(sealed_, offset, length)) return engine::IoCode::kSealed;
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
    return {};
  }
  engine::IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept override {
    const std::lock_guard lock(mutex_);
    note("discard", offset, length);
    return {};
  }
  engine::IoStatus do_flush() noexcept override {
    const std::lock_guard lock(mutex_);
    note("flush", 0, 0);
    return flush_status_;
  }
  engine::IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept override {
    const std::lock_guard lock(mutex_);
    if (overlaps(sealed_, offset, length)) return engine::IoCode::kSealed;
    return {};
  }
  engine::Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override {
    const std::lock_guard lock(mutex_);
    if (stripe_ == 0) return {.length = length, .allocated = true, .reads_as_zero = false};
    const bool hole = (offset / stripe_) % 2 == 1;
    // answers in halves of a stripe, so that equal neighbours have to be merged
    const std::uint64_t half = std::max<std::uint64_t>(stripe_ / 2, 1);
    return {.length = std::min(length, half - offset % half),
            .allocated = !hole,
            .reads_as_zero = hole};
  }
  void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept override {
    const std::lock_guard lock(mutex_);
    note("prefetch", offset, length);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte> bytes_;
  std::vector<Event> events_;
  std::uint64_t bad_read_ = UINT64_MAX - 1;
  engine::IoStatus read_status_;
  engine::IoStatus flush_status_;
  Event sealed_;
  std::uint64_t stripe_ = 0;
  bool gate_open_ = true;
};

}  // namespace latchkey::frontends
