// How measurements are run: one warm-up round that does not count, then rounds in each of which
// every measurement has one turn, so that whatever else the machine does meets all of them alike.
// Every other round goes backwards: nothing always follows the same neighbour.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "engine/result.h"
#include "tools/bench/measurement.h"
#include "tools/status_line.h"

namespace latchkey::tools::bench {

inline constexpr unsigned kMaxRepetitions = 1000;

struct RunPlan {
  unsigned repetitions = 0;
  double seconds_each = 0;

  // So that all of it takes about `seconds`, as far as repetitions between 1 ms and `longest_each`
  // allow.
  static RunPlan within(double seconds, unsigned repetitions, std::size_t measurements,
                        double longest_each);
};

// [measurement][repetition]
using Samples = std::vector<std::vector<Sample>>;

// kRefused "interrupted" once the flag is set; else the first error of a measurement.
engine::Result<Samples> run_interleaved(const std::vector<Measurement>& measurements,
                                        const RunPlan& plan, StatusLine& progress,
                                        const std::atomic<bool>& interrupted);

// The rates of one measurement, in units of `unit` a second.
std::vector<double> rates(const std::vector<Sample>& samples, double unit);

}  // namespace latchkey::tools::bench
