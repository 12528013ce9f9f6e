#include "tools/bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace latchkey::tools::bench {
namespace {

// `sorted` is not empty; `part` is from 0 to 1.
double quantile(const std::vector<double>& sorted, double part) {
  const double place = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - std::floor(place));
}

}  // namespace

Summary summarize(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {.count = values.size(),
          .median = quantile(values, 0.5),
          .lowest = values.front(),
          .highest = values.back(),
          .lower_quartile = quantile(values, 0.25),
          .upper_quartile = quantile(values, 0.75)};
}

std::vector<double> ratios(std::span<const double> a, std::span<const double> b) {
  std::vector<double> out;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (b[i] != 0) out.push_back(a[i] / b[i]);
  }
  return out;
}

}  // namespace latchkey::tools::bench
