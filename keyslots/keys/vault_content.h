// What a vault's secret holds, once it is neither wrapped nor in base64.
//
// One thread (it uses the KEK). Errors: kKeyNeeded (wrapped, and no KEK: the message names it, the
// hint gives the call that makes the vault unwrap it), kWrongKey (the KEK does not unwrap it),
// kDamaged (its value is cut short or altered), kUsage (it has no value).
#pragma once

#include <string>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/keys/key_wrap.h"
#include "keyslots/keys/vault_secret.h"

namespace latchkey::keyslots {

struct Unwrapping {
  Kek* kek = nullptr;
  // What is wrapped was unwrapped elsewhere and is given as a key of its own.
  bool done_elsewhere = false;
};

struct SecretContent {
  engine::SecretBytes bytes;  // a BEK's, or the text of a Linux passphrase
  std::string how;            // ", unwrapped by RSA-OAEP", ", decoded from base64", ""
};
// `from` names the secret in messages.
engine::Result<SecretContent> content_of(const VaultSecret& secret, const std::string& from,
                                         const Unwrapping& unwrapping);

}  // namespace latchkey::keyslots
