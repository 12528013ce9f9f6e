#include "engine/range_lock.h"

#include <limits>

namespace latchkey::engine {

RangeLock::Guard::Guard(RangeLock& owner, std::uint64_t offset, std::uint64_t length) noexcept
    : owner_(owner),
      begin_(offset),
      end_(length > std::numeric_limits<std::uint64_t>::max() - offset
               ? std::numeric_limits<std::uint64_t>::max()
               : offset + length) {
  std::unique_lock lock(owner_.mutex_);
  owner_.released_.wait(lock, [this] { return !owner_.overlaps_held(*this); });
  next_ = owner_.held_;
  if (next_ != nullptr) next_->previous_ = this;
  owner_.held_ = this;
}

RangeLock::Guard::~Guard() {
  {
    const std::lock_guard lock(owner_.mutex_);
    if (previous_ != nullptr) {
      previous_->next_ = next_;
    } else {
      owner_.held_ = next_;
    }
    if (next_ != nullptr) next_->previous_ = previous_;
    // Notified under the lock: the owner may be destroyed as soon as its last guard is gone.
    owner_.released_.notify_all();
  }
}

bool RangeLock::overlaps_held(const Guard& wanted) const noexcept {
  for (const Guard* guard = held_; guard != nullptr; guard = guard->next_) {
    if (wanted.begin_ < guard->end_ && guard->begin_ < wanted.end_) return true;
  }
  return false;
}

}  // namespace latchkey::engine
