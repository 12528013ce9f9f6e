#include "keyslots/keys/base64.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace latchkey::keyslots {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::optional<std::uint32_t> value_of(char c) {
  const std::size_t at = kAlphabet.find(c);
  if (at == std::string_view::npos) return std::nullopt;
  return static_cast<std::uint32_t>(at);
}

// Of either alphabet.
std::optional<std::uint32_t> value_in_any(char c) {
  if (c == '-') return 62U;
  if (c == '_') return 63U;
  return value_of(c);
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

std::optional<std::vector<std::byte>> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : digits) {
    const auto value = value_of(c);
    if (!value) return std::nullopt;
    bits = (bits << 6 | *value) & 0xffffU;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<std::byte>(bits >> held & 0xffU));
    }
  }
  if ((bits & ((1U << held) - 1U)) != 0) return std::nullopt;  // bits that no byte holds
  return bytes;
}

std::string encode_base64(engine::Bytes bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t held = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < held ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += j <= held ? kAlphabet[group >> (18 - 6 * j) & 0x3f] : '=';
    }
  }
  return text;
}

engine::Result<engine::SecretBytes> decode_base64_secret(engine::Bytes text) {
  using engine::Error;
  using engine::ErrorCode;
  engine::SecretBytes bytes(text.size() / 4 * 3 + 3);
  std::size_t used = 0;
  std::size_t digits = 0;
  std::size_t padding = 0;
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = static_cast<char>(text[i]);
    if (is_blank(c)) continue;
    const auto value = value_in_any(c);
    if (c == '=' && digits > 0) {
      ++padding;
    } else if (!value || padding > 0) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("character {} does not belong into base64", i + 1));
    } else {
      ++digits;
      bits = (bits << 6 | *value) & 0xffffU;
      held += 6;
      if (held >= 8) {
        held -= 8;
        bytes.data()[used++] = static_cast<std::byte>(bits >> held & 0xffU);
      }
    }
  }
  const bool whole = digits % 4 != 1 && (bits & ((1U << held) - 1U)) == 0 &&
                     (padding == 0 || (padding <= 2 && (digits + padding) % 4 == 0));
  if (!whole) {
    return Error(ErrorCode::kDamaged, "the base64 ends in the middle of a byte: it is cut short");
  }
  bytes.truncate(used);
  return bytes;
}

}  // namespace latchkey::keyslots
