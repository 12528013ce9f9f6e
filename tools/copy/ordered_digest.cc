#include "tools/copy/ordered_digest.h"

namespace latchkey::tools {

bool OrderedDigest::add(std::uint64_t index, engine::Bytes bytes) {
  {
    std::unique_lock lock(mutex_);
    turn_.wait(lock, [&] { return given_up_ || next_ == index; });
    if (given_up_) return false;
  }
  const bool good = hash_.add(bytes);
  const std::lock_guard lock(mutex_);
  ++next_;
  turn_.notify_all();
  return good;
}

void OrderedDigest::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  turn_.notify_all();
}

}  // namespace latchkey::tools
