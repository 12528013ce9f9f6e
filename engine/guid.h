// GUIDs as text. Microsoft and UEFI store the first three fields little-endian; Linux's formats
// store all of it in order. Pure, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/bytes.h"

namespace latchkey::engine {

// "0fc63daf-8483-4772-8e79-3d69d8477de4" from the 16 bytes at `at`, in the order they are in.
inline std::string uuid_text(Bytes from, std::size_t at) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = std::to_integer<unsigned>(from[at + i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

// The same for UEFI and Microsoft's mixed order.
inline std::string guid_text(Bytes from, std::size_t at) {
  static constexpr std::array<std::size_t, 16> kOrder = {3, 2, 1,  0,  5,  4,  7,  6,
                                                         8, 9, 10, 11, 12, 13, 14, 15};
  std::array<std::byte, 16> ordered;
  for (std::size_t i = 0; i < ordered.size(); ++i) ordered[i] = from[at + kOrder[i]];
  return uuid_text(ordered, 0);
}

}  // namespace latchkey::engine
