// A power cut, by replay: a device that keeps a log of every write, growth and sync, and the images
// that a cut after any entry of that log could leave behind.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "engine/block_device.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

struct RecordedOperation {
  enum class Kind { kWrite, kGrow, kSync };
  Kind kind = Kind::kSync;
  std::uint64_t offset = 0;  // kWrite; kGrow: the new size
  ByteVector bytes;          // kWrite
};

// Passes everything on. Thread-safe; the log is in the order in which the device below was called.
class RecordingDevice final : public engine::GrowableDevice {
 public:
  explicit RecordingDevice(std::shared_ptr<engine::GrowableDevice> below)
      : GrowableDevice(below->geometry()), below_(std::move(below)) {}

  std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return log_.size();
  }
  // While no other thread uses the device.
  const std::vector<RecordedOperation>& log() const { return log_; }

 private:
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    return below_->read(offset, into);
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    const std::lock_guard lock(mutex_);
    log_.push_back({RecordedOperation::Kind::kWrite, offset, {from.begin(), from.end()}});
    return below_->write(offset, from);
  }
  engine::IoStatus do_grow_to(std::uint64_t size_bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    log_.push_back({RecordedOperation::Kind::kGrow, size_bytes, {}});
    return below_->grow_to(size_bytes);
  }
  engine::IoStatus do_flush() noexcept override {
    const std::lock_guard lock(mutex_);
    log_.push_back({RecordedOperation::Kind::kSync, 0, {}});
    return below_->flush();
  }

  const std::shared_ptr<engine::GrowableDevice> below_;
  mutable std::mutex mutex_;
  std::vector<RecordedOperation> log_;
};

// What a cut after the first `cut` entries of a log can leave of a file that began as `initial`.
// What was written before the last sync is there. Of each 512-byte sector written since, any of the
// versions it went through may be there, and of the sizes the file had, any: that covers writes
// that were dropped, reordered and torn.
class CrashImages {
 public:
  CrashImages(const ByteVector& initial, const std::vector<RecordedOperation>& log, std::size_t cut)
      : durable_(initial) {
    std::size_t synced = 0;
    for (std::size_t i = 0; i < cut; ++i) {
      if (log[i].kind == RecordedOperation::Kind::kSync) synced = i + 1;
    }
    for (std::size_t i = 0; i < synced; ++i) apply(log[i], durable_);
    for (std::size_t i = synced; i < cut; ++i) unsynced_.push_back(&log[i]);
  }

  ByteVector nothing_unsynced() const { return durable_; }

  ByteVector everything() const {
    ByteVector image = durable_;
    for (const RecordedOperation* operation : unsynced_) apply(*operation, image);
    return image;
  }

  ByteVector some(std::mt19937_64& random) const {
    ByteVector newest = durable_;
    std::vector<std::uint64_t> sizes = {durable_.size()};
    // Each version of a sector replaces the one chosen so far with a chance of 1 in how many there
    // were, so that all are equally likely.
    ByteVector chosen = durable_;
    std::vector<std::uint32_t> versions;
    for (const RecordedOperation* operation : unsynced_) {
      apply(*operation, newest);
      chosen.resize(newest.size());
      versions.resize(newest.size() / kSector + 1, 1);
      if (operation->kind == RecordedOperation::Kind::kGrow) sizes.push_back(operation->offset);
      if (operation->kind != RecordedOperation::Kind::kWrite) continue;
      const std::uint64_t end = operation->offset + operation->bytes.size();
      for (std::uint64_t at = operation->offset / kSector * kSector; at < end; at += kSector) {
        if (random() % ++versions[at / kSector] != 0) continue;
        const std::uint64_t length = std::min(kSector, newest.size() - at);
        std::copy_n(newest.begin() + static_cast<std::ptrdiff_t>(at), length,
                    chosen.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
    chosen.resize(sizes[random() % sizes.size()]);
    return chosen;
  }

 private:
  static constexpr std::uint64_t kSector = 512;

  static void apply(const RecordedOperation& operation, ByteVector& image) {
    if (operation.kind == RecordedOperation::Kind::kGrow) {
      image.resize(std::max<std::size_t>(image.size(), operation.offset));
    } else if (operation.kind == RecordedOperation::Kind::kWrite) {
      image.resize(std::max<std::size_t>(image.size(), operation.offset + operation.bytes.size()));
      std::copy(operation.bytes.begin(), operation.bytes.end(),
                image.begin() + static_cast<std::ptrdiff_t>(operation.offset));
    }
  }

  ByteVector durable_;
  std::vector<const RecordedOperation*> unsynced_;
};

}  // namespace latchkey::test
