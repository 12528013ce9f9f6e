// What `info` says about an image: the same facts as text for a person and as JSON for a program
// (its fields are documented in the README and only ever added to).
#pragma once

#include <string>

#include "tools/image.h"

namespace latchkey::tools {

std::string info_text(const Image& image);
std::string info_json(const Image& image);

// Is every recognised header usable? A bad second copy is a warning and does not count.
bool all_usable(const Image& image);

// The exact command to type next; empty where there is none to recommend.
std::string next_command(const Image& image);

}  // namespace latchkey::tools
