// Secrets as the user holds them, and where they come from.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

enum class SecretKind {
  kPassphrase,        // text that a person typed or that stands in a file, without its line end
  kKeyFile,           // bytes, all of them
  kRecoveryPassword,  // 48 digits of BitLocker's, as text, checked; groups may be apart or not
  kExternalKey,       // the 32 bytes out of a BEK file
  kRawKey,            // a VMK or FVEK as such, out of a memory image
};

struct Secret {
  SecretKind kind;
  engine::SecretBytes bytes;
  std::string label;  // how messages call it: "key file 'disk.key'", "passphrase from 'pw.txt'"
  // The GUID of the protector it was made for, upper case without braces, where the secret names
  // one. That protector is tried first; nothing is refused because of it.
  std::string protector_id = {};
};

}  // namespace latchkey::keyslots
