// What LUKS1 and LUKS2 share: how the key material of a slot is turned into a volume key, and how a
// cipher is found usable before anybody is asked for a key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "engine/sector_cipher.h"
#include "keyslots/kdf.h"

namespace latchkey::keyslots {

// The largest volume key any LUKS writer makes, in bytes.
inline constexpr std::uint32_t kMaxLuksKeyBytes = 512;

// The encrypted, split key of one slot. The sizes have been bounded by the parser.
struct LuksKeyArea {
  std::uint64_t offset = 0;   // bytes, in the header's device
  engine::CipherSpec cipher;  // 512-byte sectors counted from the area's start
  std::uint32_t cipher_key_bytes = 0;
  std::uint32_t key_bytes = 0;  // of the volume key inside
  std::uint32_t stripes = 0;
  std::string af_hash;
};

// Derives the slot's key from the secret, decrypts the area and merges the stripes. What comes out
// is a volume key only if the header's digest agrees: that is for the caller to check.
engine::Result<engine::SecretBytes> open_luks_area(engine::BlockDevice& header,
                                                   const LuksKeyArea& area, const KdfSpec& kdf,
                                                   engine::Bytes secret, const KdfLimits& limits);

// The way back: `key` split and encrypted under the secret, as it goes to area.offset: a whole
// number of 512-byte sectors. Writes nothing.
engine::Result<std::vector<std::byte>> make_luks_area(const LuksKeyArea& area, const KdfSpec& kdf,
                                                      engine::Bytes key, engine::Bytes secret,
                                                      const KdfLimits& limits);

// What a volume key's digest must be: PBKDF2 as above, over `key`.
engine::Result<std::vector<std::byte>> make_luks_digest(const KdfSpec& spec, engine::Bytes key,
                                                        std::size_t digest_bytes);

// Does PBKDF2 over `key` give `digest`? `spec.hash`, salt and iterations are the header's.
engine::Result<bool> luks_digest_matches(const KdfSpec& spec, engine::Bytes key,
                                         engine::Bytes digest, const KdfLimits& limits);

// Empty where this cipher can be had with a key of that size, else why not.
std::string why_cipher_unusable(const engine::CipherSpec& spec, std::size_t key_bytes);

// As above, and whether the KDF and the hashes are known: why a slot cannot be used, else empty.
std::string why_area_unusable(const LuksKeyArea& area, const KdfSpec& kdf);

// How much of a payload that starts at `offset` the data device holds, in whole sectors. Says so
// where the device ends before the payload begins, or in the middle of a sector.
std::uint64_t luks_payload_bytes(const engine::BlockDevice& data, std::uint64_t offset,
                                 std::uint32_t sector_bytes, const std::string& where,
                                 engine::Notices& notices);

}  // namespace latchkey::keyslots
