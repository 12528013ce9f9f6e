// Sector ciphers on OpenSSL's EVP interface: the reference every faster variant is compared with,
// and what processors without AES instructions use.
//
// An EVP context cannot be shared by threads, setting one up costs an allocation and a key
// schedule, and a context per thread would outlive the key. So each cipher owns a small fixed pool
// of contexts, set up once; a call takes whichever is free and spins only when all are busy.
#include <array>
#include <atomic>
#include <cassert>
#include <cctype>
#include <functional>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "engine/sector_cipher.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kIvBytes = 16;
constexpr std::size_t kContexts = 16;

struct Deleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
  void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
};
using CipherPtr = std::unique_ptr<EVP_CIPHER, Deleter>;

const unsigned char* uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

enum class Direction { kDecrypt = 0, kEncrypt = 1 };

struct PooledContext {
  std::unique_ptr<EVP_CIPHER_CTX, Deleter> context;
  mutable std::atomic_flag busy;
};

// Contexts of one cipher, key and direction.
class ContextPool {
 public:
  bool set_up(const EVP_CIPHER* cipher, Bytes key, Direction direction) {
    for (PooledContext& slot : slots_) {
      slot.context.reset(EVP_CIPHER_CTX_new());
      if (!slot.context ||
          EVP_CipherInit_ex2(slot.context.get(), cipher, uchar(key.data()), nullptr,
                             static_cast<int>(direction), nullptr) != 1 ||
          EVP_CIPHER_CTX_set_padding(slot.context.get(), 0) != 1) {
        return false;
      }
    }
    return true;
  }

  const PooledContext& take() const noexcept {
    std::size_t i = std::hash<std::thread::id>()(std::this_thread::get_id()) % kContexts;
    for (unsigned tries = 1; slots_[i].busy.test_and_set(std::memory_order_acquire); ++tries) {
      i = (i + 1) % kContexts;
      if (tries % kContexts == 0) std::this_thread::yield();
    }
    return slots_[i];
  }

 private:
  std::array<PooledContext, kContexts> slots_;
};

// One context of a pool, until the end of the scope.
class Lease {
 public:
  explicit Lease(const ContextPool& pool) noexcept : slot_(pool.take()) {}
  ~Lease() { slot_.busy.clear(std::memory_order_release); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Neither can fail with a fixed cipher and whole blocks; were it to, going on would mean wrong
  // data, so the process ends instead.
  void start(const std::array<std::byte, kIvBytes>& iv) const noexcept {
    if (EVP_CipherInit_ex2(slot_.context.get(), nullptr, nullptr, uchar(iv.data()), -1, nullptr) !=
        1) {
      std::terminate();
    }
  }
  void run(Bytes from, MutableBytes into) const noexcept {
    int produced = 0;
    if (EVP_CipherUpdate(slot_.context.get(), uchar(into.data()), &produced, uchar(from.data()),
                         static_cast<int>(from.size())) != 1 ||
        static_cast<std::size_t>(produced) != from.size()) {
      std::terminate();
    }
  }

 private:
  const PooledContext& slot_;
};

enum class TweakRule { kPlain, kPlain64, kPlain64Be, kEssiv };

class OpensslCipher final : public SectorCipher {
 public:
  OpensslCipher(const CipherSpec& spec, TweakRule rule)
      : sector_bytes_(spec.sector_bytes),
        first_tweak_(spec.first_tweak),
        tweak_stride_(spec.tweak_stride),
        rule_(rule) {}

  bool set_up(const EVP_CIPHER* cipher, Bytes key, const EVP_CIPHER* essiv_cipher,
              Bytes essiv_key) {
    if (rule_ == TweakRule::kEssiv &&
        !essiv_.set_up(essiv_cipher, essiv_key, Direction::kEncrypt)) {
      return false;
    }
    return encrypt_.set_up(cipher, key, Direction::kEncrypt) &&
           decrypt_.set_up(cipher, key, Direction::kDecrypt);
  }

  std::uint32_t sector_bytes() const noexcept override { return sector_bytes_; }
  void encrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    run(encrypt_, first_sector, from, into);
  }
  void decrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    run(decrypt_, first_sector, from, into);
  }

 private:
  void run(const ContextPool& pool, std::uint64_t first_sector, Bytes from,
           MutableBytes into) const noexcept {
    assert(from.size() == into.size() && from.size() % sector_bytes_ == 0);
    const Lease cipher(pool);
    std::optional<Lease> essiv;
    if (rule_ == TweakRule::kEssiv) essiv.emplace(essiv_);
    std::uint64_t tweak = first_tweak_ + first_sector * tweak_stride_;
    for (std::size_t at = 0; at < from.size(); at += sector_bytes_, tweak += tweak_stride_) {
      cipher.start(iv_of(tweak, essiv));
      cipher.run(from.subspan(at, sector_bytes_), into.subspan(at, sector_bytes_));
    }
  }

  std::array<std::byte, kIvBytes> iv_of(std::uint64_t tweak,
                                        const std::optional<Lease>& essiv) const noexcept {
    std::array<std::byte, kIvBytes> iv{};
    switch (rule_) {
      case TweakRule::kPlain:
        store_le(MutableBytes(iv), 0, static_cast<std::uint32_t>(tweak));
        break;
      case TweakRule::kPlain64:
        store_le(MutableBytes(iv), 0, tweak);
        break;
      case TweakRule::kPlain64Be:
        store_be(MutableBytes(iv), 8, tweak);
        break;
      case TweakRule::kEssiv:
        store_le(MutableBytes(iv), 0, tweak);
        essiv->run(iv, iv);
        break;
    }
    return iv;
  }

  const std::uint32_t sector_bytes_;
  const std::uint64_t first_tweak_;
  const std::uint32_t tweak_stride_;
  const TweakRule rule_;
  ContextPool encrypt_;
  ContextPool decrypt_;
  ContextPool essiv_;
};

Error unsupported(const CipherSpec& spec, const std::string& why) {
  return Error(ErrorCode::kNotSupported,
               fmt::format("cipher '{}' is not supported: {}", printable(spec.name()), why));
}

std::optional<TweakRule> tweak_rule(const CipherSpec& spec) {
  if (spec.iv == "essiv") return TweakRule::kEssiv;
  if (!spec.iv_hash.empty()) return std::nullopt;
  if (spec.iv == "plain") return TweakRule::kPlain;
  if (spec.iv == "plain64") return TweakRule::kPlain64;
  if (spec.iv == "plain64be") return TweakRule::kPlain64Be;
  return std::nullopt;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// Only what has 16-byte blocks and takes the whole key: a stream or AEAD mode that EVP would also
// fetch by such a name is not a sector cipher.
CipherPtr fetch(const CipherSpec& spec, std::size_t key_bytes) {
  const bool xts = spec.mode == "xts";
  if (!xts && spec.mode != "cbc") return nullptr;
  const std::size_t bits = (xts ? key_bytes / 2 : key_bytes) * 8;
  const std::string name = fmt::format("{}-{}-{}", upper(spec.algorithm), bits, upper(spec.mode));
  CipherPtr cipher(EVP_CIPHER_fetch(nullptr, name.c_str(), nullptr));
  if (!cipher || static_cast<std::size_t>(EVP_CIPHER_get_key_length(cipher.get())) != key_bytes ||
      EVP_CIPHER_get_iv_length(cipher.get()) != static_cast<int>(kIvBytes)) {
    return nullptr;
  }
  return cipher;
}

// ESSIV: tweaks are sector numbers encrypted with the hash of the key.
struct Essiv {
  CipherPtr cipher;
  SecretBytes key;
};
Result<Essiv> essiv_of(const CipherSpec& spec, const SecretBytes& key) {
  const std::unique_ptr<EVP_MD, Deleter> hash(EVP_MD_fetch(nullptr, spec.iv_hash.c_str(), nullptr));
  if (!hash || spec.iv_hash.empty()) return unsupported(spec, "its essiv hash is not available");
  Essiv essiv;
  essiv.key = SecretBytes(static_cast<std::size_t>(EVP_MD_get_size(hash.get())));
  unsigned length = 0;
  if (EVP_Digest(key.data(), key.size(), uchar(essiv.key.data()), &length, hash.get(), nullptr) !=
      1) {
    return unsupported(spec, "its essiv hash failed");
  }
  const std::string name = fmt::format("{}-{}-ECB", upper(spec.algorithm), essiv.key.size() * 8);
  essiv.cipher.reset(EVP_CIPHER_fetch(nullptr, name.c_str(), nullptr));
  if (!essiv.cipher) return unsupported(spec, "its essiv hash does not give a usable key size");
  return essiv;
}

}  // namespace

Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key) {
  const bool size_ok = spec.sector_bytes >= 512 && spec.sector_bytes <= 4096 &&
                       (spec.sector_bytes & (spec.sector_bytes - 1)) == 0;
  if (!size_ok) return unsupported(spec, fmt::format("{}-byte sectors", spec.sector_bytes));
  const std::optional<TweakRule> rule = tweak_rule(spec);
  if (!rule) return unsupported(spec, "unknown tweak rule '" + printable(spec.iv) + "'");
  const CipherPtr cipher = fetch(spec, key.size());
  if (!cipher) {
    return unsupported(
        spec, fmt::format("no such cipher with a {}-bit key is available here", key.size() * 8));
  }
  Essiv essiv;
  if (*rule == TweakRule::kEssiv) {
    auto made = essiv_of(spec, key);
    if (!made) return std::move(made).error();
    essiv = std::move(*made);
  }
  auto made = std::make_unique<OpensslCipher>(spec, *rule);
  if (!made->set_up(cipher.get(), key.span(), essiv.cipher.get(), essiv.key.span())) {
    return unsupported(spec, "the library does not accept this key");
  }
  return std::unique_ptr<SectorCipher>(std::move(made));
}

}  // namespace latchkey::engine
