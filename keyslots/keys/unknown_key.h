// `--key FILE`: what a key file is gets found out, and every reading of it that makes sense becomes
// a Secret, the likeliest first. Each says in its label which reading it is, so that "opened by"
// tells which one fitted.
//
//   BEK file                      kExternalKey, for the protector it names
//   Key Vault secret, any form    a BEK; or a Linux passphrase decoded once, twice, not at all
//     wrapped                     the same, once `Unwrapping` can unwrap it
//   48 digits anywhere in a text  kRecoveryPassword (Windows' own file names its protector, too)
//   hexadecimal or raw bytes of a key's size  kRawKey
//   text, bytes                   kPassphrase without its line end, kKeyFile as it stands, and
//                                 what base64 in it stands for
//   a folder                      all the BEKs and Azure passphrase files in it (a BEK VOLUME)
//
// One thread. A KDF may run for every reading, so there are few: at most kMaxReadings a key.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/result.h"
#include "keyslots/keys/vault_content.h"
#include "keyslots/secret.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kMaxReadings = 8;  // of one key
inline constexpr std::size_t kMaxFolderEntries = 256;

struct ReadKey {
  std::vector<Secret> secrets;
  std::vector<std::string> left_out;  // what else is in the file and why it is not used
};

// Errors, where nothing at all can be read from it: kKeyNeeded (it is wrapped: the message names
// the KEK, the hint gives the call that unwraps it), kWrongKey (the KEK does not unwrap it),
// kNotSupported (an opaque backup), kDamaged (cut short, altered), kUsage, kSystem.
engine::Result<ReadKey> read_unknown_key(const std::string& path, const Unwrapping& unwrapping);

// A typed or saved passphrase as such; 48 digits are a recovery password first.
std::vector<Secret> passphrase_readings(Secret passphrase);

// What a key file says of itself: never the key. Facts in order, each a name for programs and a
// text for people.
struct KeyDescription {
  std::string what;  // "BEK file", "Key Vault secret", "recovery password", ...
  std::string name;  // of a secret in a vault; else empty
  bool wrapped = false;
  std::vector<std::pair<std::string, std::string>> facts;
};
engine::Result<std::vector<KeyDescription>> describe_key(const std::string& path);

}  // namespace latchkey::keyslots
