// The key options every opening command shares, and the secrets they name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/result.h"
#include "keyslots/key_ring.h"
#include "keyslots/keys/key_wrap.h"
#include "keyslots/unlock.h"

namespace latchkey::tools {

struct KeyOptions {
  std::vector<std::string> keys;  // --key: what each is gets found out
  std::string passphrase_file;    // --passphrase-file, "-" is stdin
  std::string key_file;           // --key-file
  std::string kek;                // --kek: a file or a pkcs11: URI
  std::string kek_passphrase_file;
  std::string pin_file;
  std::string kek_unwrapped;  // --kek-unwrapped: what the vault's unwrapkey answered
  std::uint64_t key_file_offset = 0;
  std::optional<std::uint64_t> key_file_bytes;
  std::string header;
  std::optional<unsigned> keyslot;
  std::string max_kdf_memory;  // a size; empty: the default
  std::optional<double> max_kdf_seconds;

  // Whatever of the above is read from a file, those in a folder of keys included.
  std::vector<std::string> files() const;
  bool any_secret() const {
    return !keys.empty() || !passphrase_file.empty() || !key_file.empty() || !kek_unwrapped.empty();
  }
};

void add_key_options(CLI::App& command, KeyOptions& options);
// --kek, --kek-passphrase-file and --pin-file alone.
void add_kek_options(CLI::App& command, KeyOptions& options);
// --max-kdf-memory and --max-kdf-time alone.
void add_kdf_limit_options(CLI::App& command, KeyOptions& options);

// Reads every secret the options name, and warns of what in them is not used. Errors: a file that
// cannot be read or is empty (kUsage, kSystem), or whose key is wrapped and stays so.
engine::Result<keyslots::KeyRing> read_secrets(const KeyOptions& options);

// The key-encryption key that --kek names; null where there is none. May ask for its passphrase or
// PIN.
engine::Result<std::unique_ptr<keyslots::Kek>> open_kek(const KeyOptions& options);

engine::Result<keyslots::UnlockOptions> unlock_options(const KeyOptions& options);

// What was typed at a prompt, in every reading.
struct TypedKey {
  keyslots::KeyRing ring;
  std::string slip;  // what is wrong with a recovery password that it nearly is; else empty
};

inline constexpr int kPassphraseTries = 3;

// ask_passphrase(), as keys to try.
engine::Result<TypedKey> ask_key(const std::string& prompt);
// Tells the person that nothing opened, where that helps the next try or names a slip.
void tell_nothing_opened(const TypedKey& key, int attempt);

// Asks on the terminal, without echo. kKeyNeeded where there is none, and when given up: ^D and an
// empty line give up; ^C ends the process; ^Z stops it, and it asks again afterwards.
engine::Result<keyslots::Secret> ask_passphrase(const std::string& prompt);

// Is "yes" typed on the terminal, the whole word? kRefused where there is none.
engine::Result<bool> ask_yes(const std::string& prompt);

}  // namespace latchkey::tools
