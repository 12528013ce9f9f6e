// The options that say what a new key is and what its key derivation may cost: `format`, `key add`,
// `key change`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/result.h"
#include "keyslots/kdf_cost.h"
#include "keyslots/secret.h"

namespace latchkey::tools {

struct NewKeyOptions {
  std::string passphrase_file;  // "-" is standard input
  std::string key_file;
  std::string generated;  // a key file to make
};

// `prefix` is "--new-", or "--" where no other key is asked for.
void add_new_key_options(CLI::App& command, NewKeyOptions& options, const std::string& prefix);

// The new key: out of a file, made, or typed twice. A key file that is made is on disk, mode 0600
// and synced, when this returns; one that exists is never overwritten. `what` names the volume in
// the prompt. Errors: kUsage (two that differ), kKeyNeeded (no terminal), kRefused, kSystem.
engine::Result<keyslots::Secret> read_new_key(const NewKeyOptions& options,
                                              const std::string& prefix, const std::string& what);

struct KdfOptions {
  std::string type;
  std::optional<double> seconds;
  std::optional<std::uint32_t> iterations;
  std::string memory;
  std::optional<std::uint32_t> lanes;
};

void add_kdf_options(CLI::App& command, KdfOptions& options);

// `required_hash`: LUKS1's, which allows nothing but pbkdf2 with it; else empty.
engine::Result<keyslots::KdfWish> kdf_wish(const KdfOptions& options,
                                           const std::string& required_hash);

// "1s", "0.5s", "800ms", "2": seconds. Empty for anything else.
std::optional<double> parse_seconds(const std::string& text);

}  // namespace latchkey::tools
