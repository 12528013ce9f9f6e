// Takes an option's data apart, field by field, never past its end. A field that is not there, or
// a string that breaks the protocol's rules for strings, is an empty optional.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/bytes.h"
#include "frontends/nbd/protocol.h"

namespace latchkey::frontends::nbd {

inline std::string_view as_text(engine::Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void append(std::vector<std::byte>& to, std::string_view text) {
  const engine::Bytes bytes = engine::as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

class OptionReader {
 public:
  explicit OptionReader(engine::Bytes data) noexcept : data_(data) {}

  std::size_t left() const noexcept { return data_.size(); }

  std::optional<std::uint16_t> number16() noexcept { return number<std::uint16_t>(); }
  std::optional<std::uint32_t> number32() noexcept { return number<std::uint32_t>(); }

  // 32 bits of length, then that many bytes; no NUL, at most kMaxStringBytes.
  std::optional<std::string_view> string() noexcept {
    const auto length = number32();
    if (!length || *length > data_.size() || *length > kMaxStringBytes) return std::nullopt;
    const std::string_view text = as_text(data_.first(*length));
    if (text.find('\0') != std::string_view::npos) return std::nullopt;
    data_ = data_.subspan(*length);
    return text;
  }

 private:
  template <class T>
  std::optional<T> number() noexcept {
    if (data_.size() < sizeof(T)) return std::nullopt;
    const T value = engine::load_be<T>(data_, 0);
    data_ = data_.subspan(sizeof(T));
    return value;
  }

  engine::Bytes data_;
};

}  // namespace latchkey::frontends::nbd
