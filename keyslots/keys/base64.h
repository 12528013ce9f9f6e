// Base64 (RFC 4648 section 4), as volume headers hold salts and digests. Strict: padding where it
// belongs, no white space, nothing after the end.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace latchkey::keyslots {

std::optional<std::vector<std::byte>> decode_base64(std::string_view text);

}  // namespace latchkey::keyslots
