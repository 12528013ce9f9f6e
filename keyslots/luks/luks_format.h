// A new, empty LUKS volume as cryptsetup makes it: `latchkey format`.
//
// Key slot 0 holds a new volume key under the secret; everything else is empty. The payload is not
// touched: what lies there decrypts to noise. What the header's place held is destroyed first. Only
// when all that belongs to it has been synced is the header itself written, so a power cut leaves a
// volume that opens or none.
// One thread. Errors: kUsage (options that contradict each other or do not fit the device),
// kNotSupported (a cipher, hash or key derivation that is not known), kSystem.
#pragma once

#include <cstdint>
#include <string>

#include "engine/block_device.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/kdf.h"

namespace latchkey::keyslots {

struct LuksFormatOptions {
  std::string cipher = "aes-xts-plain64";
  std::uint32_t key_bytes = 64;       // of the volume key: 64 is AES-256 in XTS
  std::uint32_t sector_bytes = 4096;  // LUKS1: 512 and nothing else
  std::string hash = "sha256";        // anti-forensic and key digest
  std::string uuid;                   // empty: a new one
  std::string label;                  // LUKS2 only
  std::string subsystem;              // LUKS2 only
  KdfSpec kdf;                        // of key slot 0, without a salt (kdf_cost.h)
  double digest_seconds = 0.125;      // what checking a volume key against the header may take
  // The header's device holds nothing else, and the payload begins at byte 0 of another one.
  bool detached = false;
};

struct FormattedVolume {
  engine::SecretBytes volume_key;
  std::string uuid;
  std::uint64_t payload_offset = 0;  // bytes, in the data's device
};

// What a header takes in front of the payload, or as a file of its own. A LUKS1 header's size
// depends on the key's.
inline constexpr std::uint64_t kLuks2HeaderSpaceBytes = std::uint64_t{16} << 20;
std::uint64_t luks1_header_space_bytes(std::uint32_t key_bytes);

// Everything that speaks against such a volume and can be told before a byte is written, with
// `header_bytes` on the header's device. format_luks1() and format_luks2() ask this, too.
engine::Result<void> check_luks1_format(std::uint64_t header_bytes,
                                        const LuksFormatOptions& options);
engine::Result<void> check_luks2_format(std::uint64_t header_bytes,
                                        const LuksFormatOptions& options);

engine::Result<FormattedVolume> format_luks2(engine::BlockDevice& header,
                                             const LuksFormatOptions& options,
                                             engine::Bytes secret);
engine::Result<FormattedVolume> format_luks1(engine::BlockDevice& header,
                                             const LuksFormatOptions& options,
                                             engine::Bytes secret);

}  // namespace latchkey::keyslots
