#include "keyslots/keys/secret_text.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace latchkey::keyslots {

using engine::Bytes;
using engine::SecretBytes;

namespace {

bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::optional<unsigned> hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

bool is_guid(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kGuidLength; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !hex_value(text[i])) return false;
  }
  return true;
}

// Writes one code point as UTF-8; at most 4 bytes.
void put_utf8(char32_t c, std::byte*& to) noexcept {
  const auto put = [&to](char32_t value) { *to++ = static_cast<std::byte>(value); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

std::optional<SecretBytes> utf8_from_utf16(Bytes text, std::endian order) {
  if (text.size() % 2 != 0) return std::nullopt;
  const auto unit = [&](std::size_t at) -> char32_t {
    return order == std::endian::big ? engine::load_be<std::uint16_t>(text, at)
                                     : engine::load_le<std::uint16_t>(text, at);
  };
  SecretBytes utf8(text.size() / 2 * 3 + 1);
  std::byte* to = utf8.data();
  for (std::size_t at = 0; at < text.size(); at += 2) {
    char32_t c = unit(at);
    if (c >= 0xd800 && c < 0xe000) {
      const char32_t low = at + 2 < text.size() ? unit(at + 2) : 0;
      if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000) return std::nullopt;
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      at += 2;
    }
    put_utf8(c, to);
  }
  utf8.truncate(static_cast<std::size_t>(to - utf8.data()));
  return utf8;
}

}  // namespace

std::string upper_case(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::optional<SecretBytes> text_behind_mark(Bytes bytes) {
  if (engine::starts_with(bytes, 0, "\xef\xbb\xbf")) return SecretBytes::copy_of(bytes.subspan(3));
  if (engine::starts_with(bytes, 0, "\xff\xfe")) {
    return utf8_from_utf16(bytes.subspan(2), std::endian::little);
  }
  if (engine::starts_with(bytes, 0, "\xfe\xff")) {
    return utf8_from_utf16(bytes.subspan(2), std::endian::big);
  }
  return std::nullopt;
}

Bytes trimmed(Bytes text) noexcept {
  while (!text.empty() && is_blank(static_cast<char>(text.front()))) text = text.subspan(1);
  while (!text.empty() && is_blank(static_cast<char>(text.back()))) {
    text = text.first(text.size() - 1);
  }
  return text;
}

Bytes without_line_end(Bytes text) noexcept {
  if (text.empty() || text.back() != std::byte{'\n'}) return text;
  text = text.first(text.size() - 1);
  if (!text.empty() && text.back() == std::byte{'\r'}) text = text.first(text.size() - 1);
  return text;
}

bool is_plain_text(Bytes bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) {
    const char c = static_cast<char>(b);
    return (c >= ' ' && c <= '~') || is_blank(c);
  });
}

bool is_utf8(Bytes bytes) noexcept {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto first = std::to_integer<unsigned>(bytes[at]);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xc2 ? 0
                               : first < 0xe0 ? 2
                               : first < 0xf0 ? 3
                               : first < 0xf5 ? 4
                                              : 0;
    if (length == 0 || length > bytes.size() - at) return false;
    for (std::size_t i = 1; i < length; ++i) {
      if ((std::to_integer<unsigned>(bytes[at + i]) & 0xc0) != 0x80) return false;
    }
    if (length > 2) {  // overlong forms, surrogates, and what is beyond Unicode
      const auto second = std::to_integer<unsigned>(bytes[at + 1]);
      if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
          (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
        return false;
      }
    }
    at += length;
  }
  return true;
}

std::optional<SecretBytes> decode_hex(Bytes text) {
  if (text.empty() || text.size() % 2 != 0) return std::nullopt;
  SecretBytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto high = hex_value(static_cast<char>(text[2 * i]));
    const auto low = hex_value(static_cast<char>(text[2 * i + 1]));
    if (!high || !low) return std::nullopt;
    bytes.data()[i] = static_cast<std::byte>(*high << 4 | *low);
  }
  return bytes;
}

std::string find_guid(std::string_view text) {
  for (std::size_t at = 0; at + kGuidLength <= text.size(); ++at) {
    if (is_guid(text.substr(at))) return upper_case(text.substr(at, kGuidLength));
  }
  return {};
}

}  // namespace latchkey::keyslots
