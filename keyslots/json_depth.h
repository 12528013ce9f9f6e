// How deep JSON text nests, before a parser builds anything of it: what handles the result may
// recurse. Pure, any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace latchkey::keyslots {

// Counts brackets outside of strings, and judges nothing else: text that is not JSON is the
// parser's to refuse.
inline bool json_nests_deeper_than(std::string_view text, unsigned limit) noexcept {
  unsigned depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace latchkey::keyslots
