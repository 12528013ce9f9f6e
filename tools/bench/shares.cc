#include "tools/bench/shares.h"

#include <algorithm>

namespace latchkey::tools::bench {

std::vector<double> shares(const std::vector<double>& rates) {
  std::vector<double> out;
  double longest = 0;  // the time a unit takes, as far up as we are
  for (const double rate : rates) {
    if (!(rate > 0)) return {};
    const double time = std::max(longest, 1 / rate);
    out.push_back(time - longest);
    longest = time;
  }
  for (double& part : out) part /= longest;
  return out;
}

}  // namespace latchkey::tools::bench
