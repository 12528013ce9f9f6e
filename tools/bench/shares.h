// What each layer of a stack costs, from how fast one can read above each of them. Pure.
#pragma once

#include <vector>

namespace latchkey::tools::bench {

// Of the time a unit takes at the top of a stack, the part each layer adds, between 0 and 1; they
// make 1 together. `rates` are from the bottom up, units a second. A layer above which one reads no
// slower than below it works beside the others, and adds nothing. Empty where a rate is 0.
std::vector<double> shares(const std::vector<double>& rates);

}  // namespace latchkey::tools::bench
