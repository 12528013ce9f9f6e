// Key-encryption keys (KEKs), and what they do to a wrapped secret. The algorithms are those of Key
// Vault's wrapKey, by its names (RFC 7518 section 4):
//   RSA-OAEP (SHA-1, MGF1 with SHA-1), RSA-OAEP-256, RSA1_5, A128KW, A192KW, A256KW
//
// A Kek is used by one thread. Where it comes from: kek_file.h, pkcs11_kek.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/types.h>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

enum class WrapAlgorithm { kRsaOaep, kRsaOaep256, kRsa15, kAesKeyWrap };

const char* name_of(WrapAlgorithm algorithm) noexcept;
std::optional<WrapAlgorithm> wrap_algorithm(std::string_view name) noexcept;

class Kek {
 public:
  virtual ~Kek() = default;
  // "RSA-2048 key from 'kek.pem'"
  virtual const std::string& name() const noexcept = 0;
  // How many bytes it unwraps at a time; 0 for AES.
  virtual std::size_t modulus_bytes() const noexcept = 0;
  // kWrongKey: it does not come out (which, with kRsa15, not every library notices); kNotSupported:
  // this key cannot do that. Anything else is trouble of another kind.
  virtual engine::Result<engine::SecretBytes> unwrap(WrapAlgorithm algorithm,
                                                     engine::Bytes wrapped) = 0;
};

// Asks for the passphrase of a file, or the PIN of a token, of that name.
using AskPassphrase = std::function<engine::Result<engine::SecretBytes>(const std::string& name)>;

// Keys in this process, through OpenSSL. Takes the key over; it holds an RSA private key.
std::unique_ptr<Kek> make_rsa_kek(EVP_PKEY* key, const std::string& from);
// 16, 24 or 32 bytes.
std::unique_ptr<Kek> make_aes_kek(engine::SecretBytes key, const std::string& from);

struct Unwrapped {
  engine::SecretBytes bytes;
  WrapAlgorithm by;
};

// Tries the algorithm the secret's tag names, then the others that the key can do. What RSA1_5
// gives is believed only if it is a BEK or text: newer libraries answer with random bytes where
// older ones fail. `tag` may be empty or unknown. kWrongKey says what was tried, and why it cannot
// be where that can be told: cut short, of another key's length, wrapped by an algorithm of
// another kind of key.
engine::Result<Unwrapped> unwrap_secret(Kek& kek, engine::Bytes wrapped, const std::string& tag);

}  // namespace latchkey::keyslots
