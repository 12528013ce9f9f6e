// Secrets as the user holds them, and where they come from.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

enum class SecretKind {
  kPassphrase,  // text that a person typed or that stands in a file, without its line end
  kKeyFile,     // bytes, all of them
};

struct Secret {
  SecretKind kind;
  engine::SecretBytes bytes;
  std::string label;  // how messages call it: "key file 'disk.key'", "passphrase from 'pw.txt'"
};

}  // namespace latchkey::keyslots
