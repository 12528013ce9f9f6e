#include "engine/ciphers/openssl_cipher.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

#include <fmt/format.h>

#include "engine/ciphers/cipher_variants.h"
#include "engine/ciphers/openssl_contexts.h"
#include "engine/ciphers/unsupported_cipher.h"

namespace latchkey::engine {
namespace {

// Tweaks that are themselves encrypted are made this many at a time: a call into the library costs
// as much as many blocks.
constexpr std::size_t kTweaksAtOnce = 32;

enum class TweakRule {
  kPlain,
  kPlain64,
  kPlain64Be,
  kEssiv,  // the sector number, encrypted with a hash of the key
  kEboiv,  // the byte offset, encrypted with the key
};
constexpr bool is_encrypted(TweakRule rule) noexcept {
  return rule == TweakRule::kEssiv || rule == TweakRule::kEboiv;
}

class OpensslCipher final : public SectorCipher {
 public:
  OpensslCipher(const CipherSpec& spec, TweakRule rule)
      : sector_bytes_(spec.sector_bytes),
        first_tweak_(spec.first_tweak),
        tweak_stride_(spec.tweak_stride),
        rule_(rule) {}

  bool set_up(const EVP_CIPHER* cipher, Bytes key, const EVP_CIPHER* tweak_cipher,
              Bytes tweak_key) {
    if (is_encrypted(rule_) && !tweaks_.set_up(tweak_cipher, tweak_key, Direction::kEncrypt)) {
      return false;
    }
    return encrypt_.set_up(cipher, key, Direction::kEncrypt) &&
           decrypt_.set_up(cipher, key, Direction::kDecrypt);
  }

  std::uint32_t sector_bytes() const noexcept override { return sector_bytes_; }
  std::string_view variant() const noexcept override { return kOpensslVariant; }
  void encrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    run(encrypt_, first_sector, from, into);
  }
  void decrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    run(decrypt_, first_sector, from, into);
  }

 private:
  using Ivs = std::array<std::byte, kTweaksAtOnce * kCipherBlockBytes>;

  void run(const ContextPool& pool, std::uint64_t first_sector, Bytes from,
           MutableBytes into) const noexcept {
    assert(from.size() == into.size() && from.size() % sector_bytes_ == 0);
    const ContextLease cipher(pool);
    std::optional<ContextLease> tweaks;
    if (is_encrypted(rule_)) tweaks.emplace(tweaks_);
    Ivs ivs;
    for (std::size_t at = 0; at < from.size();) {
      const std::size_t count = std::min((from.size() - at) / sector_bytes_, kTweaksAtOnce);
      const auto some = MutableBytes(ivs).first(count * kCipherBlockBytes);
      fill(some, first_sector);
      if (tweaks) tweaks->run(some, some);
      for (std::size_t i = 0; i < count; ++i, at += sector_bytes_) {
        cipher.start(some.subspan(i * kCipherBlockBytes, kCipherBlockBytes));
        cipher.run(from.subspan(at, sector_bytes_), into.subspan(at, sector_bytes_));
      }
      first_sector += count;
    }
  }

  void fill(MutableBytes ivs, std::uint64_t sector) const noexcept {
    std::fill(ivs.begin(), ivs.end(), std::byte{0});
    std::uint64_t tweak = first_tweak_ + sector * tweak_stride_;
    for (std::size_t at = 0; at < ivs.size(); at += kCipherBlockBytes, tweak += tweak_stride_) {
      switch (rule_) {
        case TweakRule::kPlain:
          store_le(ivs, at, static_cast<std::uint32_t>(tweak));
          break;
        case TweakRule::kPlain64:
        case TweakRule::kEssiv:
          store_le(ivs, at, tweak);
          break;
        case TweakRule::kPlain64Be:
          store_be(ivs, at + 8, tweak);
          break;
        case TweakRule::kEboiv:
          store_le(ivs, at, tweak * sector_bytes_);
          break;
      }
    }
  }

  const std::uint32_t sector_bytes_;
  const std::uint64_t first_tweak_;
  const std::uint32_t tweak_stride_;
  const TweakRule rule_;
  ContextPool encrypt_;
  ContextPool decrypt_;
  ContextPool tweaks_;
};

std::optional<TweakRule> tweak_rule(const CipherSpec& spec) {
  if (spec.iv == "essiv") return TweakRule::kEssiv;
  if (!spec.iv_hash.empty()) return std::nullopt;
  if (spec.iv == "plain") return TweakRule::kPlain;
  if (spec.iv == "plain64") return TweakRule::kPlain64;
  if (spec.iv == "plain64be") return TweakRule::kPlain64Be;
  if (spec.iv == "eboiv" && spec.mode == "cbc") return TweakRule::kEboiv;
  return std::nullopt;
}

// Only what has 16-byte blocks and takes the whole key: a stream or AEAD mode that EVP would also
// fetch by such a name is not a sector cipher.
CipherPtr fetch(const CipherSpec& spec, std::size_t key_bytes) {
  const bool xts = spec.mode == "xts";
  if (!xts && spec.mode != "cbc") return nullptr;
  CipherPtr cipher = fetch_cipher(spec.algorithm, xts ? key_bytes / 2 : key_bytes, spec.mode);
  if (!cipher || static_cast<std::size_t>(EVP_CIPHER_get_key_length(cipher.get())) != key_bytes ||
      EVP_CIPHER_get_iv_length(cipher.get()) != static_cast<int>(kCipherBlockBytes)) {
    return nullptr;
  }
  return cipher;
}

// What encrypts the tweaks, where the rule says that something does.
struct TweakCipher {
  CipherPtr cipher;
  SecretBytes key;
};
Result<TweakCipher> tweak_cipher_of(const CipherSpec& spec, TweakRule rule,
                                    const SecretBytes& key) {
  TweakCipher made;
  if (!is_encrypted(rule)) return made;
  if (rule == TweakRule::kEssiv) {
    auto hashed = essiv_key(spec, key);
    if (!hashed) return std::move(hashed).error();
    made.key = std::move(*hashed);
  } else {
    made.key = SecretBytes::copy_of(key.span());
  }
  made.cipher = fetch_cipher(spec.algorithm, made.key.size(), "ecb");
  if (!made.cipher)
    return unsupported_cipher(spec, "no cipher for its tweaks takes a key of that size");
  return made;
}

}  // namespace

Result<SecretBytes> essiv_key(const CipherSpec& spec, const SecretBytes& key) {
  const std::unique_ptr<EVP_MD, OpensslDeleter> hash(
      EVP_MD_fetch(nullptr, spec.iv_hash.c_str(), nullptr));
  if (!hash || spec.iv_hash.empty())
    return unsupported_cipher(spec, "its essiv hash is not available");
  SecretBytes hashed(static_cast<std::size_t>(EVP_MD_get_size(hash.get())));
  unsigned length = 0;
  if (EVP_Digest(key.data(), key.size(), reinterpret_cast<unsigned char*>(hashed.data()), &length,
                 hash.get(), nullptr) != 1) {
    return unsupported_cipher(spec, "its essiv hash failed");
  }
  return hashed;
}

Result<std::unique_ptr<SectorCipher>> make_openssl_cipher(const CipherSpec& spec,
                                                          const SecretBytes& key) {
  const std::optional<TweakRule> rule = tweak_rule(spec);
  if (!rule) return unsupported_cipher(spec, "unknown tweak rule '" + printable(spec.iv) + "'");
  const CipherPtr cipher = fetch(spec, key.size());
  if (!cipher) {
    return unsupported_cipher(
        spec, fmt::format("no such cipher with a {}-bit key is available here", key.size() * 8));
  }
  auto tweaks = tweak_cipher_of(spec, *rule, key);
  if (!tweaks) return std::move(tweaks).error();
  auto made = std::make_unique<OpensslCipher>(spec, *rule);
  if (!made->set_up(cipher.get(), key.span(), tweaks->cipher.get(), tweaks->key.span())) {
    return unsupported_cipher(spec, "the library does not accept this key");
  }
  return std::unique_ptr<SectorCipher>(std::move(made));
}

}  // namespace latchkey::engine
