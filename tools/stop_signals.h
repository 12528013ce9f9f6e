// SIGINT, SIGTERM and SIGHUP as a descriptor to wait on, for commands that end in an orderly way.
#pragma once

#include "engine/result.h"

namespace latchkey::tools {

class StopSignals {
 public:
  // Blocks the three in this thread and in those it starts from now on. Not SIGHUP where it is
  // ignored: whoever said nohup means it.
  static engine::Result<StopSignals> arm();
  StopSignals(StopSignals&& other) noexcept;
  StopSignals& operator=(StopSignals&&) = delete;
  ~StopSignals();

  // Readable when one has come. It stays readable until take().
  int fd() const noexcept { return fd_; }

  // The number of a signal that has come, and forgets it; 0: none.
  int take() noexcept;

  // From now on they do in this thread what they always do: a second one ends the process.
  void let_go() noexcept;

  // Ends the process the way the signal would have, so that a shell sees what happened.
  [[noreturn]] static void die_of(int signal) noexcept;

 private:
  explicit StopSignals(int fd) noexcept : fd_(fd) {}
  int fd_;
};

}  // namespace latchkey::tools
