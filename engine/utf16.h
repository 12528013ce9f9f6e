// Names of disks, partitions and volumes kept as UTF-16. Pure, any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/bytes.h"

namespace latchkey::engine {

// A field of UTF-16 code units, cut at its first NUL and made printable: what is not ASCII becomes
// '?', as in printable().
inline std::string utf16_text(Bytes field, std::endian order) {
  std::string text;
  for (std::size_t at = 0; at + 2 <= field.size(); at += 2) {
    const auto unit = order == std::endian::big ? load_be<std::uint16_t>(field, at)
                                                : load_le<std::uint16_t>(field, at);
    if (unit == 0) break;
    text += unit < 0x80 ? static_cast<char>(unit) : '?';
  }
  return printable(text);
}

}  // namespace latchkey::engine
