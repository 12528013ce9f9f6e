// What `info` says about an image: the same facts as text for a person and as JSON for a program
// (its fields are documented in the README and only ever added to).
#pragma once

#include <string>

#include "tools/image.h"
#include "tools/unlock_cost.h"

namespace latchkey::tools {

// `costs`: what --unlock-cost has measured; null where nobody asked.
std::string info_text(const Image& image, const UnlockCosts* costs = nullptr);
std::string info_json(const Image& image, const UnlockCosts* costs = nullptr);

// Is every recognised header usable? A bad second copy is a warning and does not count.
bool all_usable(const Image& image);

// The exact command to type next; empty where there is none to recommend.
std::string next_command(const Image& image);

}  // namespace latchkey::tools
