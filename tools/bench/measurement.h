// What is measured: something that can be run for about a given time and says how much it did.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "engine/result.h"

namespace latchkey::tools::bench {

// One repetition.
struct Sample {
  std::uint64_t units = 0;  // bytes, or requests
  double seconds = 0;
  std::optional<std::uint64_t> cycles = std::nullopt;  // of the processor, where it can count them

  double rate() const noexcept { return seconds > 0 ? static_cast<double>(units) / seconds : 0; }
};

// How long a repetition should take, and whether it is still wanted: set by another thread.
struct Pace {
  double seconds = 0;
  const std::atomic<bool>& interrupted;
};

inline constexpr double kGiga = 1e9;

struct Measurement {
  std::string name;                                        // for the progress line
  std::function<engine::Result<Sample>(const Pace&)> run;  // called by one thread
};

}  // namespace latchkey::tools::bench
