// CRC-32 as in Ethernet, zlib and the GPT: polynomial 0x04c11db7, reflected, all ones at both ends.
// For metadata, one byte at a time; not for bulk data. Pure, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/bytes.h"

namespace latchkey::engine {
namespace crc32_detail {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value & 1) != 0 ? (value >> 1) ^ 0xedb88320U : value >> 1;
    }
    table[i] = value;
  }
  return table;
}
inline constexpr std::array<std::uint32_t, 256> kTable = make_table();

}  // namespace crc32_detail

// Of several pieces: give the value for those before as `before`.
constexpr std::uint32_t crc32(Bytes bytes, std::uint32_t before = 0) noexcept {
  std::uint32_t value = ~before;
  for (const std::byte byte : bytes) {
    value = (value >> 8) ^ crc32_detail::kTable[(value ^ static_cast<std::uint32_t>(byte)) & 0xff];
  }
  return ~value;
}

}  // namespace latchkey::engine
