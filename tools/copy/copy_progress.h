// How far a copy is, how fast, and how much longer: a line that is rewritten on a terminal, else a
// line every few seconds. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tools/status_line.h"

namespace latchkey::tools {

class CopyProgress {
 public:
  // `what` is "copied" or "verified"; `bytes` is all there is to do.
  CopyProgress(std::string what, std::uint64_t bytes);

  void show(std::uint64_t done);

 private:
  using Clock = std::chrono::steady_clock;

  const std::string what_;
  const std::uint64_t bytes_;
  const Clock::time_point began_;
  Clock::time_point said_;
  StatusLine line_;
};

// "[######......] 50%  1.0 GiB of 2.0 GiB copied, 1.0 GiB/s, 0:01 left", the bar only if asked for.
// More than `bytes` done is all of them.
std::string progress_text(const std::string& what, std::uint64_t done, std::uint64_t bytes,
                          double seconds, bool with_bar);

// "1:02:03", "0:05".
std::string clock_text(double seconds);

}  // namespace latchkey::tools
