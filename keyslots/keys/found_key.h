// What is in a key file, before anything is unwrapped or tried. Behind unknown_key.h.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/keys/bek_file.h"
#include "keyslots/keys/vault_secret.h"

namespace latchkey::keyslots {

struct FoundKey {
  enum class Kind {
    kBek,
    kVaultSecret,
    kRecoveryPassword,  // `bytes` are its digits
    kVaultBackup,       // an opaque copy: `backup_of` says of what
    kBytes,             // anything else: `bytes` is the file, `text` what it says as text
  };
  Kind kind;
  std::string from;  // the file, as messages call it
  BekFile bek = {};
  std::size_t bek_bytes = 0;
  VaultSecret vault = {};
  std::string protector_id = {};
  std::string backup_of = {};
  engine::SecretBytes bytes = {};
  engine::SecretBytes text = {};
};

// Never empty. Errors: the file cannot be read, or it is of a kind that is known and cannot be
// used (kDamaged: a BEK or a vault's JSON that was cut short).
engine::Result<std::vector<FoundKey>> look_into_key_file(const std::string& path);
engine::Result<std::vector<FoundKey>> look_into_key_bytes(engine::SecretBytes whole,
                                                          const std::string& from);

// Is the secret's value, decoded from base64, still wrapped? A BEK and plain text are not, whatever
// is written beside them; then the content type decides, then whether a KEK is named, then the
// bytes. That an algorithm is named does not: scripts write it beside plain secrets, too.
bool is_wrapped(const VaultSecret& secret, engine::Bytes decoded);

// Is it wrapped, and of the size that a wrapped key has? Only that is sent to a vault to be
// unwrapped, or shown for that: anything else may be a secret in the clear with wrong tags.
bool may_be_sent_to_vault(const VaultSecret& secret, engine::Bytes decoded);

// As many bytes as an RSA key of 2048, 3072 or 4096 bits gives, and not text.
bool may_be_rsa_wrapped(engine::Bytes bytes) noexcept;

}  // namespace latchkey::keyslots
