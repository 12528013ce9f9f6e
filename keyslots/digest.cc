#include "keyslots/digest.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;

struct Digest::Entry {
  std::string name;          // as headers spell it
  const char* openssl_name;  // as OpenSSL's providers spell it
  bool legacy = false;       // only in the legacy provider
};

namespace {

// The legacy provider needs company: PBKDF2 and HMAC come from the default one. Never freed:
// digests handed out are valid for the life of the process.
OSSL_LIB_CTX* legacy_context() {
  static OSSL_LIB_CTX* const context = []() -> OSSL_LIB_CTX* {
    OSSL_LIB_CTX* made = OSSL_LIB_CTX_new();
    if (made == nullptr) return nullptr;
    if (OSSL_PROVIDER_load(made, "default") != nullptr &&
        OSSL_PROVIDER_load(made, "legacy") != nullptr) {
      return made;
    }
    OSSL_LIB_CTX_free(made);
    return nullptr;
  }();
  return context;
}

const EVP_MD* fetch(const char* openssl_name, bool legacy) {
  if (!legacy) {
    if (const EVP_MD* found = EVP_MD_fetch(nullptr, openssl_name, nullptr)) return found;
  }
  OSSL_LIB_CTX* context = legacy_context();
  return context != nullptr ? EVP_MD_fetch(context, openssl_name, nullptr) : nullptr;
}

constexpr std::size_t kEntries = 15;

struct FreeKdf {
  void operator()(EVP_KDF* kdf) const noexcept { EVP_KDF_free(kdf); }
  void operator()(EVP_KDF_CTX* context) const noexcept { EVP_KDF_CTX_free(context); }
};

OSSL_PARAM octets(const char* key, Bytes bytes) {
  // OpenSSL takes a pointer to non-const and does not write through it.
  return OSSL_PARAM_construct_octet_string(key, const_cast<std::byte*>(bytes.data()), bytes.size());
}

}  // namespace

// The entries and what was fetched for each stand at the same index of two arrays.
const Digest::Entry* Digest::entry_named(std::string_view name) noexcept {
  static const std::array<Entry, kEntries> entries{{
      {"sha1", "SHA1"},
      {"sha224", "SHA2-224"},
      {"sha256", "SHA2-256"},
      {"sha384", "SHA2-384"},
      {"sha512", "SHA2-512"},
      {"sha512-256", "SHA2-512/256"},
      {"sha3-224", "SHA3-224"},
      {"sha3-256", "SHA3-256"},
      {"sha3-384", "SHA3-384"},
      {"sha3-512", "SHA3-512"},
      {"blake2b-512", "BLAKE2B-512"},
      {"blake2s-256", "BLAKE2S-256"},
      {"ripemd160", "RIPEMD-160"},
      {"sm3", "SM3"},
      {"whirlpool", "WHIRLPOOL", true},
  }};
  const auto* found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.name == name; });
  return found == entries.end() ? nullptr : found;
}

Result<Digest> Digest::find(std::string_view name) {
  static std::array<std::atomic<const EVP_MD*>, kEntries> fetched{};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const Entry* entry = entry_named(lower);
  if (entry == nullptr) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("hash '{}' is not supported", engine::printable(name)));
  }
  auto& slot = fetched[static_cast<std::size_t>(entry - entry_named("sha1"))];
  const EVP_MD* evp = slot.load(std::memory_order_acquire);
  if (evp == nullptr) {
    evp = fetch(entry->openssl_name, entry->legacy);
    if (evp == nullptr) {
      return Error(ErrorCode::kNotSupported,
                   fmt::format("hash '{}' is not offered by this OpenSSL", entry->name))
          .with_hint(entry->legacy ? "install OpenSSL's legacy provider" : "");
    }
    // Two threads may fetch the same one: the reference that is not kept is a few bytes, once.
    slot.store(evp, std::memory_order_release);
  }
  return Digest(entry, evp);
}

const std::string& Digest::name() const noexcept {
  return entry_->name;
}

std::size_t Digest::size_bytes() const noexcept {
  return static_cast<std::size_t>(EVP_MD_get_size(evp_));
}

Result<void> Digest::pbkdf2(Bytes secret, Bytes salt, std::uint32_t iterations,
                            MutableBytes into) const {
  const Error failed(ErrorCode::kSystem,
                     fmt::format("pbkdf2 with {} failed inside OpenSSL", entry_->name));
  OSSL_LIB_CTX* context = nullptr;
  if (entry_->legacy) context = legacy_context();
  const std::unique_ptr<EVP_KDF, FreeKdf> kdf(EVP_KDF_fetch(context, "PBKDF2", nullptr));
  if (!kdf) return failed;
  const std::unique_ptr<EVP_KDF_CTX, FreeKdf> run(EVP_KDF_CTX_new(kdf.get()));
  if (!run) return failed;
  // 1 switches off SP 800-132's lower bounds, which old volumes do not keep.
  int without_lower_bounds = 1;
  auto* iteration_count = &iterations;
  // A null pointer would mean "not given": an empty secret is a secret.
  const std::byte nothing{};
  const Bytes given = secret.empty() ? Bytes(&nothing, std::size_t{0}) : secret;
  const std::array<OSSL_PARAM, 6> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                       const_cast<char*>(entry_->openssl_name), 0),
      octets(OSSL_KDF_PARAM_PASSWORD, given),
      octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_ITER, iteration_count),
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &without_lower_bounds),
      OSSL_PARAM_construct_end(),
  };
  if (EVP_KDF_derive(run.get(), reinterpret_cast<unsigned char*>(into.data()), into.size(),
                     parameters.data()) != 1) {
    return failed;
  }
  return {};
}

Hasher::Hasher(const Digest& digest)
    : context_(EVP_MD_CTX_new()), evp_(digest.evp()), size_bytes_(digest.size_bytes()) {}

void FreeDigestContext::operator()(EVP_MD_CTX* context) const noexcept {
  EVP_MD_CTX_free(context);
}

bool Hasher::hash(std::initializer_list<Bytes> parts, MutableBytes into) noexcept {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  bool good = context_ != nullptr && EVP_DigestInit_ex2(context_.get(), evp_, nullptr) == 1;
  for (const Bytes part : parts) {
    good = good && EVP_DigestUpdate(context_.get(), part.data(), part.size()) == 1;
  }
  good = good && EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1 &&
         into.size() <= length;
  if (good)
    std::copy_n(reinterpret_cast<const std::byte*>(digest.data()), into.size(), into.begin());
  engine::wipe(std::as_writable_bytes(std::span(digest)));
  return good;
}

RunningHash::RunningHash(const Digest& digest)
    : context_(EVP_MD_CTX_new()),
      good_(context_ && EVP_DigestInit_ex2(context_.get(), digest.evp(), nullptr) == 1) {}

bool RunningHash::add(Bytes bytes) noexcept {
  good_ = good_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  return good_;
}

std::string RunningHash::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
  unsigned length = 0;
  good_ = good_ && EVP_DigestFinal_ex(context_.get(), sum.data(), &length) == 1;
  std::string text;
  for (unsigned i = 0; good_ && i < length; ++i) text += fmt::format("{:02x}", sum[i]);
  return text;
}

}  // namespace latchkey::keyslots
