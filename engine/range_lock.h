// Locks on byte ranges for writers. A lock waits only for locks that overlap it. Holds no memory
// beyond one small list node per holder, which lives on the holder's stack: nothing is allocated.
// Fair enough for its use: a waiter retries whenever any overlapping range is released.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace latchkey::engine {

class RangeLock {
 public:
  // Holds [offset, offset + length) until destroyed. One per stack frame; not movable.
  class Guard {
   public:
    Guard(RangeLock& owner, std::uint64_t offset, std::uint64_t length) noexcept;
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    friend class RangeLock;
    RangeLock& owner_;
    const std::uint64_t begin_;
    const std::uint64_t end_;
    Guard* next_ = nullptr;
    Guard* previous_ = nullptr;
  };

 private:
  bool overlaps_held(const Guard& wanted) const noexcept;

  std::mutex mutex_;
  std::condition_variable released_;
  Guard* held_ = nullptr;
};

}  // namespace latchkey::engine
