#include <array>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/kek_file.h"
#include "keyslots/keys/openssl_ptr.h"
#include "keyslots/keys/secret_json.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::size_t kMaxNumberBytes = 2048;  // RSA-16384

struct Part {
  const char* jwk;
  const char* openssl;
};
// RFC 7518 section 6.3. The first three are needed; the others come together or not at all.
constexpr std::array<Part, 8> kParts{{{"n", OSSL_PKEY_PARAM_RSA_N},
                                      {"e", OSSL_PKEY_PARAM_RSA_E},
                                      {"d", OSSL_PKEY_PARAM_RSA_D},
                                      {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
                                      {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},
                                      {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
                                      {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
                                      {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}}};
constexpr std::size_t kNeeded = 3;

using Number = OpensslPtr<BIGNUM, BN_clear_free>;

Error damaged(const std::string& from, const std::string& what) {
  return {ErrorCode::kDamaged, "the JWK in " + from + ": " + what};
}

Result<std::vector<Number>> read_numbers(const SecretJson& jwk, const std::string& from) {
  std::vector<Number> numbers;
  for (const Part& part : kParts) {
    const auto text = secret_member(jwk, part.jwk);
    if (!text && numbers.size() >= kNeeded) break;
    if (!text) return damaged(from, std::string("it has no ") + part.jwk);
    const auto bytes = decode_base64_secret(text->span());
    if (!bytes) return damaged(from, std::string(part.jwk) + ": " + bytes.error().message());
    if (bytes->empty() || bytes->size() > kMaxNumberBytes) {
      return damaged(from, std::string(part.jwk) + " is too long");
    }
    numbers.emplace_back(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes->data()),
                                   static_cast<int>(bytes->size()), BN_secure_new()));
    if (numbers.back() == nullptr) return damaged(from, "out of memory");
  }
  if (numbers.size() < kParts.size()) numbers.resize(kNeeded);
  return numbers;
}

Result<std::unique_ptr<Kek>> read_rsa(const SecretJson& jwk, const std::string& from) {
  auto numbers = read_numbers(jwk, from);
  if (!numbers) return std::move(numbers).error();
  const OpensslPtr<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  for (std::size_t i = 0; i < numbers->size(); ++i) {
    if (!build ||
        OSSL_PARAM_BLD_push_BN(build.get(), kParts[i].openssl, (*numbers)[i].get()) != 1) {
      return damaged(from, "its numbers cannot be used");
    }
  }
  const OpensslPtr<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  const OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) <= 0 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) <= 0) {
    return damaged(from, "its numbers make no RSA key");
  }
  return make_rsa_kek(key, from);
}

Result<std::unique_ptr<Kek>> read_aes(const SecretJson& jwk, const std::string& from) {
  const auto text = secret_member(jwk, "k");
  if (!text) return damaged(from, "it has no k");
  auto key = decode_base64_secret(text->span());
  if (!key) return damaged(from, "k: " + key.error().message());
  if (key->size() != 16 && key->size() != 24 && key->size() != 32) {
    return damaged(from, "k is no AES key: " + std::to_string(key->size()) + " bytes");
  }
  return make_aes_kek(std::move(*key), from);
}

}  // namespace

Result<std::unique_ptr<Kek>> parse_jwk(engine::Bytes text, const std::string& from) {
  const auto json = parse_secret_json(text);
  if (!json) return std::unique_ptr<Kek>();
  // `az keyvault key show` and the REST interface put it into a member of that name.
  const SecretJson* bundled = member(*json, "key");
  const SecretJson& jwk = bundled != nullptr && bundled->is_object() ? *bundled : *json;
  const std::string type = printable_member(jwk, "kty");
  if (type.empty()) return std::unique_ptr<Kek>();
  const bool aes = type.starts_with("oct");
  const char* secret_part = aes ? "k" : "d";
  const SecretJson* secret = member(jwk, secret_part);
  if (secret == nullptr || secret->is_null()) {
    return Error(ErrorCode::kUsage, from + " holds only the public part of the key")
        .with_hint(
            "Key Vault never gives the private part away; where it cannot be had, let the "
            "vault unwrap the secret and give the answer with --kek-unwrapped FILE");
  }
  if (aes) return read_aes(jwk, from);
  if (type.starts_with("RSA")) return read_rsa(jwk, from);
  return Error(ErrorCode::kNotSupported, from + " is a key of type " + type + ", which wraps none");
}

}  // namespace latchkey::keyslots
