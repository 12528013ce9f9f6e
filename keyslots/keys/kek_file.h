// The private half of a key-encryption key out of a file: PEM or DER (PKCS#1, PKCS#8, encrypted
// PKCS#8), PKCS#12, JWK (kty RSA or oct), or the 16, 24 or 32 bytes of an AES key.
//
// One thread. `ask` is called at most once, and only where the file is encrypted. Errors: kUsage
// (no private key in it), kWrongKey (the passphrase), kDamaged, kSystem, and what `ask` gives.
#pragma once

#include <memory>
#include <string>

#include "engine/result.h"
#include "keyslots/keys/key_wrap.h"

namespace latchkey::keyslots {

engine::Result<std::unique_ptr<Kek>> read_kek_file(const std::string& path,
                                                   const AskPassphrase& ask);

// The JSON Web Key in a JSON text; null where the text is none. `from` names it in messages.
engine::Result<std::unique_ptr<Kek>> parse_jwk(engine::Bytes text, const std::string& from);

}  // namespace latchkey::keyslots
