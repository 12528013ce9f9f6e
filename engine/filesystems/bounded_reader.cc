#include "engine/filesystems/bounded_reader.h"

#include <algorithm>

namespace latchkey::engine {

bool BoundedReader::read(std::uint64_t offset, MutableBytes into) noexcept {
  // Small reads cost, too: a loop in the metadata is made of them.
  const std::uint64_t cost = std::max<std::uint64_t>(into.size(), 4096);
  exhausted_ = exhausted_ || cost > left_bytes_;
  if (exhausted_) return false;
  left_bytes_ -= cost;
  return device_.in_range(offset, into.size()) && device_.read(offset, into).ok();
}

}  // namespace latchkey::engine
