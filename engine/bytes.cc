#include "engine/bytes.h"

#include <algorithm>
#include <array>

namespace latchkey::engine {

namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;  // in bytes; 0: no well-formed UTF-8 begins here
};

// Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
CodePoint code_point_at(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  char32_t value = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80) return {};
    value = (value << 6U) | (next & 0x3fU);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[length] || surrogate || value > 0x10ffff) return {};
  return {value, length};
}

// Controls, and format characters: zero width, bidirectional order, tags.
bool has_a_shape(char32_t value) {
  struct Range {
    char32_t first;
    char32_t last;
  };
  constexpr std::array kShapeless = {
      Range{0x0, 0x1f},        Range{0x7f, 0x9f},       Range{0xad, 0xad},
      Range{0x600, 0x605},     Range{0x61c, 0x61c},     Range{0x6dd, 0x6dd},
      Range{0x70f, 0x70f},     Range{0x180e, 0x180e},   Range{0x200b, 0x200f},
      Range{0x2028, 0x202e},   Range{0x2060, 0x206f},   Range{0xfe00, 0xfe0f},
      Range{0xfeff, 0xfeff},   Range{0xfff0, 0xfffb},   Range{0x1d173, 0x1d17a},
      Range{0xe0000, 0xe0fff}, Range{0xf0000, 0x10ffff}};
  return std::none_of(kShapeless.begin(), kShapeless.end(), [&](const Range& range) {
    return value >= range.first && value <= range.last;
  });
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = code_point_at(text);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    if (point.length != 0 && has_a_shape(point.value)) {
      out += text.substr(0, length);
    } else {
      out += '?';
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace latchkey::engine
