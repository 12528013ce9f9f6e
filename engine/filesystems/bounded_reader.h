// What the file system libraries see of a device: reads inside it, as long as a budget lasts.
// Internal to this folder; one thread.
#pragma once

#include <cstdint>

#include "engine/block_device.h"
#include "engine/bytes.h"

namespace latchkey::engine {

class BoundedReader {
 public:
  explicit BoundedReader(BlockDevice& device) : device_(device) {}

  std::uint64_t size_bytes() const noexcept { return device_.size_bytes(); }
  // False: not inside the device, not readable, or too much was read already.
  bool read(std::uint64_t offset, MutableBytes into) noexcept;
  bool exhausted() const noexcept { return exhausted_; }

 private:
  BlockDevice& device_;
  std::uint64_t left_bytes_ = std::uint64_t{512} * 1024 * 1024;
  bool exhausted_ = false;
};

}  // namespace latchkey::engine
