// Base64 (RFC 4648). Pure, any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

// Section 4, as volume headers hold salts and digests. Strict: padding where it belongs, no white
// space, nothing after the end.
std::optional<std::vector<std::byte>> decode_base64(std::string_view text);

// Section 4, with padding.
std::string encode_base64(engine::Bytes bytes);

// Sections 4 and 5, as people hold secrets: either alphabet, padded or not, with white space and
// line ends anywhere. kDamaged says what is wrong: a character that does not belong (its place
// counts from 1), or an end that is missing.
engine::Result<engine::SecretBytes> decode_base64_secret(engine::Bytes text);

}  // namespace latchkey::keyslots
