// A SHA-256 of pieces that several threads bring in any order: each waits until it is its turn.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "engine/bytes.h"
#include "keyslots/digest.h"

namespace latchkey::tools {

class OrderedDigest {
 public:
  explicit OrderedDigest(const keyslots::Digest& sha256) : hash_(sha256) {}

  // Blocks until every piece before number `index` was added. False after give_up().
  bool add(std::uint64_t index, engine::Bytes bytes);
  // Wakes all who wait: the pieces they wait for will not come.
  void give_up();
  // Once all were added. Empty where OpenSSL failed.
  std::string hex() { return hash_.hex(); }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  std::uint64_t next_ = 0;
  bool given_up_ = false;
  keyslots::RunningHash hash_;  // touched only by whose turn it is
};

}  // namespace latchkey::tools
