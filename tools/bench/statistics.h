// What is said of repeated measurements: the median, and how far they spread. The only place where
// such figures are made; values, any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace latchkey::tools::bench {

// A result is called noisy where the middle half of its repetitions spreads over more than this
// part of their median.
inline constexpr double kNoisySpread = 0.10;

struct Summary {
  std::size_t count = 0;  // 0: everything else is 0
  double median = 0;
  double lowest = 0;
  double highest = 0;
  double lower_quartile = 0;  // quartiles and median by linear interpolation
  double upper_quartile = 0;

  bool noisy() const noexcept { return upper_quartile - lower_quartile > kNoisySpread * median; }
};

Summary summarize(std::vector<double> values);

// a[i] / b[i], for repetitions that were made side by side: what disturbed both cancels out. As
// long as the shorter of the two; pairs whose divisor is 0 are left out.
std::vector<double> ratios(std::span<const double> a, std::span<const double> b);

}  // namespace latchkey::tools::bench
