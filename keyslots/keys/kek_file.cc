#include "keyslots/keys/kek_file.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "keyslots/keys/key_file.h"
#include "keyslots/keys/openssl_ptr.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

using BioPtr = OpensslPtr<BIO, BIO_free>;
using PkeyPtr = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;

// Asks once, and remembers: a library may want the passphrase several times.
class Passphrase {
 public:
  Passphrase(const AskPassphrase& ask, const std::string& name) : ask_(ask), name_(name) {}

  const SecretBytes* get() {
    if (!answer_) answer_ = ask_(name_);
    return answer_->ok() ? &answer_->value() : nullptr;
  }
  bool asked() const { return answer_.has_value(); }
  // What came of it: the asking failed, or the passphrase is wrong.
  Error error() && {
    if (answer_ && !answer_->ok()) return std::move(*answer_).error();
    return Error(ErrorCode::kWrongKey, "the passphrase does not open " + name_)
        .with_hint("--kek-passphrase-file FILE takes the first line of a file");
  }

 private:
  const AskPassphrase& ask_;
  std::string name_;
  std::optional<Result<SecretBytes>> answer_;
};

int give_passphrase(char* into, std::size_t room, std::size_t* length, const OSSL_PARAM* /*params*/,
                    void* asking) {
  const SecretBytes* answer = static_cast<Passphrase*>(asking)->get();
  if (answer == nullptr || answer->size() > room) return 0;
  std::memcpy(into, answer->data(), answer->size());
  *length = answer->size();
  return 1;
}

BioPtr reader_of(Bytes bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

// PEM and DER in all their forms; null where none is in it.
PkeyPtr decode_key(Bytes bytes, int selection, Passphrase& passphrase) {
  EVP_PKEY* key = nullptr;
  const OpensslPtr<OSSL_DECODER_CTX, OSSL_DECODER_CTX_free> decoder(
      OSSL_DECODER_CTX_new_for_pkey(&key, nullptr, nullptr, nullptr, selection, nullptr, nullptr));
  const BioPtr reader = reader_of(bytes);
  if (!decoder || !reader) return nullptr;
  OSSL_DECODER_CTX_set_passphrase_cb(decoder.get(), give_passphrase, &passphrase);
  if (OSSL_DECODER_from_bio(decoder.get(), reader.get()) != 1) {
    ERR_clear_error();
    EVP_PKEY_free(key);
    return nullptr;
  }
  return PkeyPtr(key);
}

// Old PKCS#12 files are encrypted with RC2, which lives in OpenSSL's legacy provider.
PkeyPtr parse_pkcs12(PKCS12* file, const char* passphrase) {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  int parsed = PKCS12_parse(file, passphrase, &key, &certificate, nullptr);
  if (parsed != 1 && OSSL_PROVIDER_try_load(nullptr, "legacy", 1) != nullptr) {
    parsed = PKCS12_parse(file, passphrase, &key, &certificate, nullptr);
  }
  ERR_clear_error();
  X509_free(certificate);
  return PkeyPtr(parsed == 1 ? key : nullptr);
}

// Null where it is no PKCS#12; an error where it is but gives no key.
Result<PkeyPtr> read_pkcs12(Bytes bytes, Passphrase& passphrase, const std::string& from) {
  const BioPtr reader = reader_of(bytes);
  const OpensslPtr<PKCS12, PKCS12_free> file(d2i_PKCS12_bio(reader.get(), nullptr));
  ERR_clear_error();
  if (!file) return PkeyPtr();
  SecretBytes zero_ended(1);
  const bool open = PKCS12_mac_present(file.get()) == 0 ||
                    PKCS12_verify_mac(file.get(), "", 0) == 1 ||
                    PKCS12_verify_mac(file.get(), nullptr, 0) == 1;
  if (!open) {
    const SecretBytes* answer = passphrase.get();
    if (answer == nullptr) return std::move(passphrase).error();
    zero_ended = SecretBytes(answer->size() + 1);
    std::memcpy(zero_ended.data(), answer->data(), answer->size());
    const char* text = reinterpret_cast<const char*>(zero_ended.data());
    if (PKCS12_verify_mac(file.get(), text, static_cast<int>(answer->size())) != 1) {
      ERR_clear_error();
      return std::move(passphrase).error();
    }
  }
  PkeyPtr key = parse_pkcs12(file.get(), reinterpret_cast<const char*>(zero_ended.data()));
  if (!key) return Error(ErrorCode::kUsage, from + " holds no private key");
  return key;
}

Error no_private_key(Bytes bytes, Passphrase& passphrase, const std::string& from) {
  if (passphrase.asked()) return std::move(passphrase).error();
  const bool public_half = decode_key(bytes, EVP_PKEY_PUBLIC_KEY, passphrase) != nullptr ||
                           as_text(bytes).find("BEGIN CERTIFICATE") != std::string_view::npos;
  return Error(ErrorCode::kUsage, public_half ? from + " holds only the public part of the key"
                                              : from + " holds no private key of a known form")
      .with_hint(
          "it may be PEM or DER (PKCS#8, also encrypted), PKCS#12, JWK, or the 16, 24 or "
          "32 bytes of an AES key");
}

}  // namespace

Result<std::unique_ptr<Kek>> read_kek_file(const std::string& path, const AskPassphrase& ask) {
  auto file = read_key_file(path);
  if (!file) return std::move(file).error();
  const Bytes bytes = file->bytes.span();
  const std::string from = "'" + path + "'";
  auto jwk = parse_jwk(bytes, from);
  if (!jwk || *jwk != nullptr) return jwk;

  Passphrase passphrase(ask, path);
  PkeyPtr key = decode_key(bytes, EVP_PKEY_KEYPAIR, passphrase);
  if (!key && !passphrase.asked()) {
    auto inside = read_pkcs12(bytes, passphrase, from);
    if (!inside) return std::move(inside).error();
    key = std::move(*inside);
  }
  if (!key && (bytes.size() == 16 || bytes.size() == 24 || bytes.size() == 32)) {
    return make_aes_kek(std::move(file->bytes), from);
  }
  if (!key) return no_private_key(bytes, passphrase, from);
  if (EVP_PKEY_is_a(key.get(), "RSA") != 1) {
    const char* type = EVP_PKEY_get0_type_name(key.get());
    return Error(ErrorCode::kNotSupported,
                 from + " is a key of type " + (type == nullptr ? "?" : type) + ", not RSA");
  }
  return make_rsa_kek(key.release(), from);
}

}  // namespace latchkey::keyslots
