// BEK files: BitLocker's startup and recovery keys, as Windows writes them and as Azure Disk
// Encryption stores them in a vault (formats: a dataset header of 48 bytes, then one external-key
// datum that holds a GUID, a date, a text, perhaps the volume's GUID, and 32 bytes of key).
//
// Pure, any thread. Errors: kDamaged, each naming what contradicts the format; nothing is read
// beyond what the header and each datum claim, and neither may claim more than there is.
#pragma once

#include <string>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kMinBekBytes = 124;
inline constexpr std::size_t kMaxBekBytes = 512;

struct BekFile {
  engine::SecretBytes key;   // 32 bytes
  std::string protector_id;  // GUID, upper case without braces
  std::string volume_id;     // likewise; empty before Windows 11
  std::string created;       // "2025-09-13 14:00:16" UTC
  std::string description;   // "ExternalKey", "BitLocker Extension Key Protector"
};

// Does it begin like one? True of one that was cut short, too.
bool looks_like_bek(engine::Bytes bytes) noexcept;

engine::Result<BekFile> parse_bek(engine::Bytes bytes);

}  // namespace latchkey::keyslots
