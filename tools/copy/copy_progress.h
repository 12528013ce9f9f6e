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
  // `what` is "copied" or "verified".
  CopyProgress(std::string what, std::uint64_t bytes);

  void show(std::uint64_t done);

 private:
  using Clock = std::chrono::steady_clock;

  std::string line(std::uint64_t done, Clock::time_point now) const;

  const std::string what_;
  const std::uint64_t bytes_;
  const Clock::time_point began_;
  Clock::time_point said_;
  StatusLine line_;
};

// "1:02:03", "0:05".
std::string clock_text(double seconds);

}  // namespace latchkey::tools
