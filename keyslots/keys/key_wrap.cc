#include "keyslots/keys/key_wrap.h"

#include <array>
#include <climits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "keyslots/keys/bek_file.h"
#include "keyslots/keys/openssl_ptr.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

using PkeyPtr = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using CipherContext = OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using CipherPtr = OpensslPtr<EVP_CIPHER, EVP_CIPHER_free>;

const unsigned char* raw(Bytes bytes) noexcept {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(engine::MutableBytes bytes) noexcept {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

Error does_not_come_out(WrapAlgorithm algorithm) {
  ERR_clear_error();
  return {ErrorCode::kWrongKey, fmt::format("{} does not come out", name_of(algorithm))};
}

Error cannot_do(const std::string& kek, WrapAlgorithm algorithm) {
  return {ErrorCode::kNotSupported, fmt::format("{} cannot do {}", kek, name_of(algorithm))};
}

class RsaKek final : public Kek {
 public:
  RsaKek(EVP_PKEY* key, const std::string& from)
      : key_(key), name_(fmt::format("RSA-{} key from {}", EVP_PKEY_get_bits(key), from)) {}
  const std::string& name() const noexcept override { return name_; }
  std::size_t modulus_bytes() const noexcept override {
    return static_cast<std::size_t>(EVP_PKEY_get_size(key_.get()));
  }

  Result<SecretBytes> unwrap(WrapAlgorithm algorithm, Bytes wrapped) override {
    if (algorithm == WrapAlgorithm::kAesKeyWrap) return cannot_do(name_, algorithm);
    const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
    if (!context || EVP_PKEY_decrypt_init(context.get()) <= 0) return cannot_do(name_, algorithm);
    if (!set_padding(context.get(), algorithm)) return cannot_do(name_, algorithm);
    SecretBytes plain(modulus_bytes());
    std::size_t size = plain.size();
    if (EVP_PKEY_decrypt(context.get(), raw(plain.span()), &size, raw(wrapped), wrapped.size()) <=
        0) {
      return does_not_come_out(algorithm);
    }
    plain.truncate(size);
    return plain;
  }

 private:
  static bool set_padding(EVP_PKEY_CTX* context, WrapAlgorithm algorithm) {
    if (algorithm == WrapAlgorithm::kRsa15) {
      return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0;
    }
    const char* digest = algorithm == WrapAlgorithm::kRsaOaep ? "SHA1" : "SHA256";
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md_name(context, digest, nullptr) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, digest, nullptr) > 0;
  }

  PkeyPtr key_;
  std::string name_;
};

class AesKek final : public Kek {
 public:
  AesKek(SecretBytes key, const std::string& from)
      : key_(std::move(key)), name_(fmt::format("AES-{} key from {}", key_.size() * 8, from)) {}
  const std::string& name() const noexcept override { return name_; }
  std::size_t modulus_bytes() const noexcept override { return 0; }

  // RFC 3394: 8 bytes longer than the key inside, with a check value of its own.
  Result<SecretBytes> unwrap(WrapAlgorithm algorithm, Bytes wrapped) override {
    if (algorithm != WrapAlgorithm::kAesKeyWrap) return cannot_do(name_, algorithm);
    if (wrapped.size() < 24 || wrapped.size() % 8 != 0 || wrapped.size() > INT_MAX) {
      return Error(ErrorCode::kWrongKey,
                   fmt::format("{} bytes are no AES key wrap: cut short, or wrapped by another "
                               "algorithm",
                               wrapped.size()));
    }
    const CipherPtr cipher(
        EVP_CIPHER_fetch(nullptr, fmt::format("AES-{}-WRAP", key_.size() * 8).c_str(), nullptr));
    const CipherContext context(EVP_CIPHER_CTX_new());
    if (!cipher || !context) return cannot_do(name_, algorithm);
    EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    SecretBytes plain(wrapped.size());
    int size = 0;
    if (EVP_DecryptInit_ex2(context.get(), cipher.get(), raw(key_.span()), nullptr, nullptr) <= 0 ||
        EVP_DecryptUpdate(context.get(), raw(plain.span()), &size, raw(wrapped),
                          static_cast<int>(wrapped.size())) <= 0) {
      return does_not_come_out(algorithm);
    }
    plain.truncate(static_cast<std::size_t>(size));
    return plain;
  }

 private:
  SecretBytes key_;
  std::string name_;
};

// The content a wrapped secret can have: a BEK, or the text of a Linux passphrase.
bool makes_sense(Bytes content) {
  return parse_bek(content).ok() || (!content.empty() && is_plain_text(content));
}

// Why no algorithm can fit, as far as the lengths tell; empty where they do not.
std::string unfit_length(const Kek& kek, std::size_t wrapped_bytes) {
  if (kek.modulus_bytes() == 0 || wrapped_bytes == kek.modulus_bytes()) return {};
  const std::string sizes = fmt::format("it has {} bytes, the {} unwraps {}", wrapped_bytes,
                                        kek.name(), kek.modulus_bytes());
  for (const std::size_t bits : {1024U, 2048U, 3072U, 4096U}) {
    if (wrapped_bytes * 8 == bits) {
      return fmt::format("{}: it was wrapped with another key, of {} bits", sizes, bits);
    }
  }
  return sizes + (wrapped_bytes < kek.modulus_bytes() ? ": it is cut short" : "");
}

std::vector<WrapAlgorithm> in_order(const Kek& kek, std::optional<WrapAlgorithm> first) {
  if (kek.modulus_bytes() == 0) return {WrapAlgorithm::kAesKeyWrap};
  std::vector<WrapAlgorithm> order;
  if (first && *first != WrapAlgorithm::kAesKeyWrap) order.push_back(*first);
  for (const auto other :
       {WrapAlgorithm::kRsaOaep, WrapAlgorithm::kRsaOaep256, WrapAlgorithm::kRsa15}) {
    if (order.empty() || other != order.front()) order.push_back(other);
  }
  return order;
}

// The tag asks for the other kind of key.
bool of_other_kind(const Kek& kek, WrapAlgorithm algorithm) {
  return (algorithm == WrapAlgorithm::kAesKeyWrap) != (kek.modulus_bytes() == 0);
}

Error none_fits(const Kek& kek, const std::string& tried, const std::string& tag,
                std::optional<WrapAlgorithm> named) {
  std::string text = fmt::format("the {} does not unwrap it (tried {})", kek.name(), tried);
  if (!tag.empty() && !named) {
    text += fmt::format("; its tag names the algorithm '{}', which is not known here", tag);
  } else {
    text += ": another key wrapped it, or it was altered";
  }
  return Error(ErrorCode::kWrongKey, text)
      .with_hint("the private key has to be of the very version that the secret's KEK URL names");
}

}  // namespace

const char* name_of(WrapAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case WrapAlgorithm::kRsaOaep:
      return "RSA-OAEP";
    case WrapAlgorithm::kRsaOaep256:
      return "RSA-OAEP-256";
    case WrapAlgorithm::kRsa15:
      return "RSA1_5";
    case WrapAlgorithm::kAesKeyWrap:
      return "AES key wrap";
  }
  return "";
}

std::optional<WrapAlgorithm> wrap_algorithm(std::string_view name) noexcept {
  for (const auto algorithm :
       {WrapAlgorithm::kRsaOaep, WrapAlgorithm::kRsaOaep256, WrapAlgorithm::kRsa15}) {
    if (equal_ignoring_case(name, name_of(algorithm))) return algorithm;
  }
  for (const char* aes : {"A128KW", "A192KW", "A256KW"}) {
    if (equal_ignoring_case(name, aes)) return WrapAlgorithm::kAesKeyWrap;
  }
  return std::nullopt;
}

std::unique_ptr<Kek> make_rsa_kek(EVP_PKEY* key, const std::string& from) {
  return std::make_unique<RsaKek>(key, from);
}

std::unique_ptr<Kek> make_aes_kek(SecretBytes key, const std::string& from) {
  return std::make_unique<AesKek>(std::move(key), from);
}

Result<Unwrapped> unwrap_secret(Kek& kek, Bytes wrapped, const std::string& tag) {
  const auto named = wrap_algorithm(tag);
  if (named && of_other_kind(kek, *named)) {
    return Error(ErrorCode::kWrongKey,
                 fmt::format("it was wrapped by {}, which the {} cannot do", tag, kek.name()))
        .with_hint(*named == WrapAlgorithm::kAesKeyWrap
                       ? "give the AES key: a file of 16, 24 or 32 bytes, or a JWK of kty oct"
                       : "give the RSA private key: PEM, PKCS#8, PKCS#12 or a JWK of kty RSA");
  }
  if (const std::string why = unfit_length(kek, wrapped.size()); !why.empty()) {
    return Error(ErrorCode::kWrongKey, why)
        .with_hint("the private key has to be of the very version that the secret's KEK URL names");
  }
  std::string tried;
  std::optional<Error> cannot;  // what the tag asks for
  for (const WrapAlgorithm algorithm : in_order(kek, named)) {
    auto plain = kek.unwrap(algorithm, wrapped);
    if (plain && (algorithm != WrapAlgorithm::kRsa15 || makes_sense(plain->span()))) {
      return Unwrapped{std::move(*plain), algorithm};
    }
    const auto code = plain ? ErrorCode::kWrongKey : plain.error().code();
    if (code == ErrorCode::kNotSupported) {
      if (named == algorithm) cannot = std::move(plain).error();
      continue;
    }
    if (code != ErrorCode::kWrongKey) return std::move(plain).error();
    if (kek.modulus_bytes() == 0 && wrapped.size() % 8 != 0) return std::move(plain).error();
    tried += (tried.empty() ? "" : ", ") + std::string(name_of(algorithm));
  }
  if (cannot) {
    return std::move(*cannot).with_hint(
        "let the vault unwrap the secret and give its answer with --kek-unwrapped FILE");
  }
  return none_fits(kek, tried, tag, named);
}

}  // namespace latchkey::keyslots
