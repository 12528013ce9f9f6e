// Control-C for commands that have to put something away first: a flag that work looks at, set by a
// thread that waits for the signals.
//
// Arm it once the last question has been asked: until then a signal ends the process as it always
// does. One at a time; used by one thread, the flag by any.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "engine/result.h"
#include "engine/unique_fd.h"
#include "tools/stop_signals.h"

namespace latchkey::tools::bench {

class Interruption {
 public:
  static engine::Result<std::unique_ptr<Interruption>> arm();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  const std::atomic<bool>& flag() const noexcept { return interrupted_; }

  // Where a signal has come: ends the process the way it would have. Everything must be put away.
  void finish();

 private:
  Interruption(StopSignals signals, engine::UniqueFd ending)
      : signals_(std::move(signals)), ending_(std::move(ending)) {}
  void watch() noexcept;

  StopSignals signals_;
  engine::UniqueFd ending_;
  std::atomic<bool> interrupted_{false};
  std::thread watcher_;
};

}  // namespace latchkey::tools::bench
