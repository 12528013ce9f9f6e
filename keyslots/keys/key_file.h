// Secrets out of files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/bytes.h"
#include "engine/result.h"
#include "keyslots/secret.h"

namespace latchkey::keyslots {

inline constexpr std::uint64_t kMaxKeyFileBytes = 8ULL * 1024 * 1024;  // cryptsetup's limit

// Every byte of a file (or of the part asked for), as cryptsetup reads key files. Errors: kSystem,
// kUsage (empty, larger than kMaxKeyFileBytes, a directory, shorter than the part asked for).
engine::Result<Secret> read_key_file(const std::string& path, std::uint64_t offset = 0,
                                     std::optional<std::uint64_t> length_bytes = std::nullopt);

// The first line without its LF or CRLF; "-" is standard input, of which no more is read.
engine::Result<Secret> read_passphrase_file(const std::string& path);

}  // namespace latchkey::keyslots
