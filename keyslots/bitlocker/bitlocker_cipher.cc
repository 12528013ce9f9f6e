#include "keyslots/bitlocker/bitlocker_cipher.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kPaddedHalfBytes = 32;
constexpr std::size_t kPaddedBytes = 64;

struct Method {
  BitlockerMethod method;
  const char* mode;
  const char* iv;
  std::size_t key_bytes;
  const char* name;
};

constexpr std::array<Method, 6> kMethods{{
    {BitlockerMethod::kAes128Diffuser, "cbc", "elephant", 32, "AES-CBC 128 with Elephant diffuser"},
    {BitlockerMethod::kAes256Diffuser, "cbc", "elephant", 64, "AES-CBC 256 with Elephant diffuser"},
    {BitlockerMethod::kAes128, "cbc", "eboiv", 16, "AES-CBC 128"},
    {BitlockerMethod::kAes256, "cbc", "eboiv", 32, "AES-CBC 256"},
    {BitlockerMethod::kXts128, "xts", "plain64", 32, "XTS-AES 128"},
    {BitlockerMethod::kXts256, "xts", "plain64", 64, "XTS-AES 256"},
}};

const Method* find(BitlockerMethod method) {
  const auto* found = std::find_if(kMethods.begin(), kMethods.end(),
                                   [&](const Method& one) { return one.method == method; });
  return found == kMethods.end() ? nullptr : found;
}

}  // namespace

std::string describe_bitlocker_method(BitlockerMethod method) {
  if (method == BitlockerMethod::kNone) return "none";
  const Method* found = find(method);
  if (found == nullptr) return fmt::format("method {:#06x}", static_cast<unsigned>(method));
  return fmt::format("aes-{}-{} ({})", found->mode, found->iv, found->name);
}

std::size_t bitlocker_key_bytes(BitlockerMethod method) {
  const Method* found = find(method);
  return found == nullptr ? 0 : found->key_bytes;
}

Result<engine::CipherSpec> bitlocker_cipher(BitlockerMethod method, std::uint32_t sector_bytes) {
  const Method* found = find(method);
  if (found == nullptr) {
    return Error(ErrorCode::kNotSupported, fmt::format("encryption method {:#06x} is not known",
                                                       static_cast<unsigned>(method)));
  }
  return engine::CipherSpec{.algorithm = "aes",
                            .mode = found->mode,
                            .iv = found->iv,
                            .iv_hash = {},
                            .sector_bytes = sector_bytes,
                            .first_tweak = 0,
                            .tweak_stride = 1};
}

std::optional<SecretBytes> bitlocker_cipher_key(BitlockerMethod method, Bytes stored) {
  const Method* found = find(method);
  if (found == nullptr) return std::nullopt;
  const std::size_t wanted = found->key_bytes;
  if (stored.size() == wanted) return SecretBytes::copy_of(stored);
  if (stored.size() == kPaddedBytes + 2 &&
      engine::load_le<std::uint16_t>(stored, 0) == static_cast<std::uint16_t>(method)) {
    return bitlocker_cipher_key(method, stored.subspan(2));
  }
  if (stored.size() != kPaddedBytes) return std::nullopt;
  if (method != BitlockerMethod::kAes128Diffuser) {
    return SecretBytes::copy_of(stored.first(wanted));
  }
  SecretBytes key(wanted);
  const auto half = static_cast<std::ptrdiff_t>(wanted / 2);
  std::copy_n(stored.begin(), half, key.data());
  std::copy_n(stored.begin() + kPaddedHalfBytes, half, key.data() + half);
  return key;
}

}  // namespace latchkey::keyslots
