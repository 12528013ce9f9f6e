// The key options every opening command shares, and the secrets they name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/result.h"
#include "keyslots/key_ring.h"
#include "keyslots/unlock.h"

namespace latchkey::tools {

struct KeyOptions {
  std::vector<std::string> keys;  // --key: what each is gets found out
  std::string passphrase_file;    // --passphrase-file, "-" is stdin
  std::string key_file;           // --key-file
  std::uint64_t key_file_offset = 0;
  std::optional<std::uint64_t> key_file_bytes;
  std::string header;
  std::optional<unsigned> keyslot;
  std::string max_kdf_memory;  // a size; empty: the default
  std::optional<double> max_kdf_seconds;

  bool any_secret() const { return !keys.empty() || !passphrase_file.empty() || !key_file.empty(); }
};

void add_key_options(CLI::App& command, KeyOptions& options);

// Reads every secret the options name. Errors: a file that cannot be read or is empty (kUsage,
// kSystem).
engine::Result<keyslots::KeyRing> read_secrets(const KeyOptions& options);

engine::Result<keyslots::UnlockOptions> unlock_options(const KeyOptions& options);

// Asks on the terminal, without echo. kKeyNeeded where there is none, and when given up: ^D and an
// empty line give up; ^C ends the process; ^Z stops it, and it asks again afterwards.
engine::Result<keyslots::Secret> ask_passphrase(const std::string& prompt);

}  // namespace latchkey::tools
