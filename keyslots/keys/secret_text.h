// What is to be told from the text of a key file: its encoding, hexadecimal digits, GUIDs. Copies
// of secrets are made in SecretBytes only. Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bytes.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

inline std::string_view as_text(engine::Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ASCII letters only; for GUIDs and names.
std::string upper_case(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

// The text behind a byte order mark of UTF-8 or UTF-16, as UTF-8. Nothing where there is no mark,
// or where the UTF-16 is none.
std::optional<engine::SecretBytes> text_behind_mark(engine::Bytes bytes);

// Without white space and line ends around it.
engine::Bytes trimmed(engine::Bytes text) noexcept;
// Without one LF or CRLF at its end.
engine::Bytes without_line_end(engine::Bytes text) noexcept;

// ASCII without control characters other than white space.
bool is_plain_text(engine::Bytes bytes) noexcept;

bool is_utf8(engine::Bytes bytes) noexcept;

// Pairs of hexadecimal digits and nothing else.
std::optional<engine::SecretBytes> decode_hex(engine::Bytes text);

// "4381F759-C4F8-4DE0-BB61-FC33A831BDA5" anywhere in a name: upper case; empty where there is none.
inline constexpr std::size_t kGuidLength = 36;
std::string find_guid(std::string_view text);

}  // namespace latchkey::keyslots
