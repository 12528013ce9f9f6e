#include "keyslots/bitlocker/bitlocker_unlock.h"

#include <algorithm>
#include <array>
#include <climits>
#include <memory>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "keyslots/digest.h"
#include "keyslots/keys/recovery_password.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kGroups = kRecoveryGroups;
constexpr std::size_t kGroupDigits = kRecoveryGroupDigits;
constexpr unsigned kGroupDivisor = kRecoveryGroupDivisor;
constexpr unsigned kGroupLimit = 720896;  // 11 * 65536
constexpr std::size_t kHashBytes = 32;
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kMacBytes = 16;
constexpr std::uint64_t kStretchRounds = 0x100000;

Error in_openssl(const char* what) {
  return {ErrorCode::kSystem, fmt::format("{} failed inside OpenSSL", what)};
}

Error not_a_password(std::string text) {
  return Error(ErrorCode::kUsage, "not a recovery password: " + std::move(text))
      .with_hint("it has 8 groups of 6 digits, like 111111-222222-..., each a multiple of 11");
}

unsigned char* uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

// The sixth digit repeats the others: (d0 - d1 + d2 - d3 + d4) mod 11. It follows from the number
// being a multiple of 11; said on its own because a typing error shows there first.
bool check_digit_holds(Bytes digits) {
  int sum = 0;
  for (std::size_t i = 0; i + 1 < kGroupDigits; ++i) {
    const int digit = std::to_integer<int>(digits[i]);
    sum += i % 2 == 0 ? digit : -digit;
  }
  return (sum + 22) % 11 == std::to_integer<int>(digits[kGroupDigits - 1]);
}

Result<SecretBytes> sha256(std::initializer_list<Bytes> parts) {
  const auto digest = Digest::find("sha256");
  if (!digest) return digest.error();
  Hasher hasher(*digest);
  SecretBytes hash(kHashBytes);
  if (!hasher.hash(parts, hash.span())) return in_openssl("SHA-256");
  return hash;
}

// One character of UTF-8 from `text`, which is cut by it; nothing where it is not valid: too long a
// form, a surrogate, beyond Unicode, cut short.
std::optional<std::uint32_t> next_character(Bytes& text) {
  const auto lead = std::to_integer<std::uint32_t>(text[0]);
  std::size_t more = 0;
  std::uint32_t least = 0;
  std::uint32_t value = lead;
  if (lead >= 0x80) {
    if ((lead & 0xe0) == 0xc0) {
      more = 1, least = 0x80, value = lead & 0x1f;
    } else if ((lead & 0xf0) == 0xe0) {
      more = 2, least = 0x800, value = lead & 0x0f;
    } else if ((lead & 0xf8) == 0xf0) {
      more = 3, least = 0x10000, value = lead & 0x07;
    } else {
      return std::nullopt;
    }
  }
  if (text.size() <= more) return std::nullopt;
  for (std::size_t i = 1; i <= more; ++i) {
    const auto next = std::to_integer<std::uint32_t>(text[i]);
    if ((next & 0xc0) != 0x80) return std::nullopt;
    value = value << 6 | (next & 0x3f);
  }
  if (value < least || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    return std::nullopt;
  }
  text = text.subspan(more + 1);
  return value;
}

Result<SecretBytes> utf16_of(Bytes utf8) {
  SecretBytes out(utf8.size() * 2);  // no character is longer in UTF-16 than twice its UTF-8
  std::size_t at = 0;
  const std::size_t whole = utf8.size();
  const auto put = [&](std::uint32_t unit) {
    engine::store_le(out.span(), at, static_cast<std::uint16_t>(unit));
    at += 2;
  };
  while (!utf8.empty()) {
    const std::size_t place = whole - utf8.size();
    const auto character = next_character(utf8);
    if (!character) {
      return Error(ErrorCode::kUsage,
                   fmt::format("the passphrase is not valid UTF-8 at byte {}", place))
          .with_hint("BitLocker passphrases are text: save the file as UTF-8");
    }
    if (*character < 0x10000) {
      put(*character);
    } else {
      put(0xd800 + ((*character - 0x10000) >> 10));
      put(0xdc00 + ((*character - 0x10000) & 0x3ff));
    }
  }
  out.truncate(at);
  return out;
}

struct FreeEvp {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
  void operator()(EVP_CIPHER* cipher) const noexcept { EVP_CIPHER_free(cipher); }
};

}  // namespace

Result<SecretBytes> parse_recovery_password(std::string_view text) {
  SecretBytes digits(kGroups * kGroupDigits);
  std::size_t count = 0;
  for (const char c : text) {
    if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if (c < '0' || c > '9') return not_a_password("it has other characters than digits");
    if (count == digits.size()) return not_a_password("it has more than 48 digits");
    digits.data()[count++] = static_cast<std::byte>(c - '0');
  }
  if (count != digits.size()) return not_a_password(fmt::format("it has {} digits", count));
  SecretBytes key(kGroups * 2);
  for (std::size_t group = 0; group < kGroups; ++group) {
    const Bytes one = digits.span().subspan(group * kGroupDigits, kGroupDigits);
    unsigned value = 0;
    for (const std::byte digit : one) value = value * 10 + std::to_integer<unsigned>(digit);
    if (value % kGroupDivisor != 0 || !check_digit_holds(one)) {
      return not_a_password(
          fmt::format("group {} was mistyped: it is not a multiple of 11", group + 1));
    }
    if (value >= kGroupLimit) {
      return not_a_password(fmt::format("group {} is too large", group + 1));
    }
    engine::store_le(key.span(), group * 2, static_cast<std::uint16_t>(value / kGroupDivisor));
  }
  return key;
}

SecretBytes format_recovery_password(Bytes key) {
  SecretBytes text(kGroups * (kGroupDigits + 1) - 1);
  std::size_t at = 0;
  for (std::size_t group = 0; group < kGroups; ++group) {
    if (group > 0) text.data()[at++] = static_cast<std::byte>('-');
    unsigned value = engine::load_le<std::uint16_t>(key, group * 2) * kGroupDivisor;
    for (std::size_t i = kGroupDigits; i-- > 0; value /= 10) {
      text.data()[at + i] = static_cast<std::byte>('0' + value % 10);
    }
    at += kGroupDigits;
  }
  return text;
}

Result<SecretBytes> recovery_password_hash(Bytes key) {
  return sha256({key});
}

Result<SecretBytes> passphrase_hash(Bytes utf8) {
  const auto text = utf16_of(utf8);
  if (!text) return text.error();
  const auto once = sha256({text->span()});
  if (!once) return once.error();
  return sha256({once->span()});
}

Result<SecretBytes> stretch_key(Bytes initial_hash, Bytes salt) {
  constexpr std::size_t kCountAt = 2 * kHashBytes + kSaltBytes;
  if (initial_hash.size() != kHashBytes || salt.size() != kSaltBytes) {
    return Error(ErrorCode::kDamaged, "the salt of the key derivation has the wrong size");
  }
  SecretBytes state(kCountAt + 8);  // last hash, initial hash, salt, count
  std::copy(initial_hash.begin(), initial_hash.end(), state.data() + kHashBytes);
  std::copy(salt.begin(), salt.end(), state.data() + 2 * kHashBytes);
  const auto digest = Digest::find("sha256");
  if (!digest) return digest.error();
  const std::unique_ptr<EVP_MD_CTX, FreeEvp> context(EVP_MD_CTX_new());
  bool good = context && EVP_DigestInit_ex2(context.get(), digest->evp(), nullptr) == 1;
  for (std::uint64_t round = 0; good && round < kStretchRounds; ++round) {
    engine::store_le(state.span(), kCountAt, round);
    // Without a digest named, the context's own is started anew.
    good = EVP_DigestInit_ex2(context.get(), nullptr, nullptr) == 1 &&
           EVP_DigestUpdate(context.get(), state.data(), state.size()) == 1 &&
           EVP_DigestFinal_ex(context.get(), uchar(state.data()), nullptr) == 1;
  }
  if (!good) return in_openssl("SHA-256");
  state.truncate(kHashBytes);
  return state;
}

Result<std::optional<SecretBytes>> unseal(Bytes sealed, Bytes key) {
  if (sealed.size() <= kNonceBytes + kMacBytes || sealed.size() > INT_MAX) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("a sealed key of {} bytes cannot be one", sealed.size()));
  }
  if (key.size() != kBitlockerKeyBytes) return std::optional<SecretBytes>();
  const Bytes text = sealed.subspan(kNonceBytes + kMacBytes);
  std::array<std::byte, kMacBytes> mac{};
  std::copy_n(sealed.begin() + kNonceBytes, kMacBytes, mac.begin());
  const std::unique_ptr<EVP_CIPHER, FreeEvp> cipher(
      EVP_CIPHER_fetch(nullptr, "AES-256-CCM", nullptr));
  const std::unique_ptr<EVP_CIPHER_CTX, FreeEvp> context(EVP_CIPHER_CTX_new());
  SecretBytes plain(text.size());
  int length = 0;
  const bool ready =
      cipher && context &&
      EVP_DecryptInit_ex2(context.get(), cipher.get(), nullptr, nullptr, nullptr) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, kNonceBytes, nullptr) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kMacBytes, mac.data()) == 1 &&
      EVP_DecryptInit_ex2(context.get(), nullptr, uchar(key.data()), uchar(sealed.data()),
                          nullptr) == 1;
  if (!ready) return in_openssl("AES-CCM");
  // The only call that fails where the key does not fit.
  if (EVP_DecryptUpdate(context.get(), uchar(plain.data()), &length, uchar(text.data()),
                        static_cast<int>(text.size())) != 1 ||
      static_cast<std::size_t>(length) != text.size()) {
    return std::optional<SecretBytes>();
  }
  return std::optional(std::move(plain));
}

Result<std::optional<UnsealedKey>> unseal_key(Bytes sealed, Bytes key) {
  constexpr std::size_t kHeadBytes = 12;  // a datum's 8, key type, flags
  constexpr std::uint16_t kKeyType = 1;
  auto plain = unseal(sealed, key);
  if (!plain) return std::move(plain).error();
  if (!*plain) return std::optional<UnsealedKey>();
  const Bytes datum = (*plain)->span();
  if (datum.size() <= kHeadBytes || engine::load_le<std::uint16_t>(datum, 0) != datum.size() ||
      engine::load_le<std::uint16_t>(datum, 4) != kKeyType) {
    return Error(ErrorCode::kDamaged, "what a key opened is not a key");
  }
  UnsealedKey unsealed;
  unsealed.type = engine::load_le<std::uint16_t>(datum, 8);
  unsealed.key = SecretBytes::copy_of(datum.subspan(kHeadBytes));
  return std::optional(std::move(unsealed));
}

}  // namespace latchkey::keyslots
