// What a finished copy says to the person.
#pragma once

#include <string>

#include "engine/result.h"
#include "tools/copy/manifest.h"

namespace latchkey::tools {

// On standard output; `seconds` is what the copying took, without the verification.
void say_copied(const Manifest& manifest, double seconds);

// A warning for each place that could not be read, and an error if there is any: kRefused.
// `manifest_path` may be empty.
engine::Result<void> say_unread(const Manifest& manifest, const std::string& manifest_path);

}  // namespace latchkey::tools
