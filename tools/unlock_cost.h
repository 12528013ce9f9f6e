// `info --unlock-cost`: how long the key derivation of each keyslot or protector takes on this
// machine, found out by doing it with a secret that fits none. Costs come from the image: what
// unlocking would refuse to spend is refused here, with the same words.
//
// One after another, so that never more than one argon2 arena is in memory. One thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "keyslots/kdf.h"
#include "tools/image.h"

namespace latchkey::tools {

struct UnlockCost {
  double seconds = 0;
  std::string why_not;  // why there is no figure; else empty
};

// By number of the region (0: the whole disk) and of the protector.
using UnlockCosts = std::map<std::pair<unsigned, unsigned>, UnlockCost>;

// `says` is told which one comes next: "p2 keyslot 0".
UnlockCosts measure_unlock_costs(const Image& image, const keyslots::KdfLimits& limits,
                                 const std::function<void(const std::string&)>& says);

}  // namespace latchkey::tools
