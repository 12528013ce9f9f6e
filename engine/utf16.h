// Names of disks, partitions and volumes kept as UTF-16. Pure, any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/bytes.h"

namespace latchkey::engine {

namespace detail {

inline void append_utf8(std::string& text, char32_t code) {
  const auto tail = [&](unsigned shift) {
    text += static_cast<char>(0x80U | ((code >> shift) & 0x3fU));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0U | (code >> 6U));
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0U | (code >> 12U));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xf0U | (code >> 18U));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace detail

// A field of UTF-16 code units as UTF-8, cut at its first NUL and made printable().
inline std::string utf16_text(Bytes field, std::endian order) {
  const auto unit_at = [&](std::size_t at) -> char32_t {
    if (at + 2 > field.size()) return 0;
    return order == std::endian::big ? load_be<std::uint16_t>(field, at)
                                     : load_le<std::uint16_t>(field, at);
  };
  std::string text;
  for (std::size_t at = 0; unit_at(at) != 0; at += 2) {
    char32_t code = unit_at(at);
    const char32_t next = unit_at(at + 2);
    if (code >= 0xd800 && code < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10U) + (next - 0xdc00);
      at += 2;
    } else if (code >= 0xd800 && code < 0xe000) {
      code = '?';  // half of a pair
    }
    detail::append_utf8(text, code);
  }
  return printable(text);
}

}  // namespace latchkey::engine
