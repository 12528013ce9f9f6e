// Reading and writing fixed-width integers in byte buffers, and cutting text out of fixed-size
// fields. The caller guarantees that the span is long enough; asserted in debug builds.
#pragma once

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace latchkey::engine {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

template <std::unsigned_integral T>
T load_be(Bytes from, std::size_t at) noexcept {
  assert(at + sizeof(T) <= from.size());
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value =
        static_cast<T>((std::uint64_t{value} << 8) | std::to_integer<std::uint64_t>(from[at + i]));
  }
  return value;
}

template <std::unsigned_integral T>
T load_le(Bytes from, std::size_t at) noexcept {
  assert(at + sizeof(T) <= from.size());
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;) {
    value =
        static_cast<T>((std::uint64_t{value} << 8) | std::to_integer<std::uint64_t>(from[at + i]));
  }
  return value;
}

template <std::unsigned_integral T>
void store_be(MutableBytes into, std::size_t at, T value) noexcept {
  assert(at + sizeof(T) <= into.size());
  for (std::size_t i = sizeof(T); i-- > 0;) {
    into[at + i] = static_cast<std::byte>(value & 0xff);
    value = static_cast<T>(std::uint64_t{value} >> 8);
  }
}

template <std::unsigned_integral T>
void store_le(MutableBytes into, std::size_t at, T value) noexcept {
  assert(at + sizeof(T) <= into.size());
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    into[at + i] = static_cast<std::byte>(value & 0xff);
    value = static_cast<T>(std::uint64_t{value} >> 8);
  }
}

// A NUL-padded text field, cut at its first NUL; a field without one is taken whole.
inline std::string_view text_field(Bytes from, std::size_t at, std::size_t length) noexcept {
  assert(at + length <= from.size());
  const auto* begin = reinterpret_cast<const char*>(from.data() + at);
  return {begin, strnlen(begin, length)};
}

inline bool starts_with(Bytes from, std::size_t at, std::string_view magic) noexcept {
  return from.size() >= magic.size() && at <= from.size() - magic.size() &&
         std::memcmp(from.data() + at, magic.data(), magic.size()) == 0;
}

inline Bytes as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) noexcept {
  return value / unit * unit;
}

inline bool all_zero(Bytes bytes) noexcept {
  // A byte, and each the same as the one before it: memcmp is the fastest there is for this.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Text from an untrusted field, or a name somebody gave, safe for a terminal of UTF-8 and a JSON
// file: UTF-8 stays; what is none, control characters, and what is not seen or changes the order of
// what is become '?', so that a label cannot move a cursor, break an encoding or hide a part of it.
std::string printable(std::string_view text);

}  // namespace latchkey::engine
