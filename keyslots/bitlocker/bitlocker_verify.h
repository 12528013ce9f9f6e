// Is this what it should be? The sealed hash of the metadata, a raw FVEK (which nothing
// authenticates but what it decrypts), the log of a conversion that was cut off, and Vista's boot
// sector as it was. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/bitlocker/bitlocker_layout.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"

namespace latchkey::keyslots {

// Does the SHA-256 that the metadata's maker sealed under the VMK hold?
bool bitlocker_seal_holds(const BitlockerMetadata& metadata, const engine::SecretBytes& vmk);

// Does it begin like an NTFS, FAT or exFAT volume?
bool is_boot_sector(engine::Bytes sector);

// A raw FVEK in the form the cipher takes it: accepted if the first sector of the plain view (where
// that is not encrypted: of NTFS's file table) makes sense with it. kWrongKey where it does not, or
// where nothing could show it.
engine::Result<engine::SecretBytes> verify_bitlocker_fvek(engine::BlockDevice& volume,
                                                          const std::vector<BitlockerPiece>& pieces,
                                                          std::uint32_t sector_bytes,
                                                          BitlockerMethod method,
                                                          engine::Bytes raw_key);

// Why a conversion of the old kind (a watermark, no bitmaps) cannot be read: its log names a chunk
// that was half converted, or is damaged. Empty where it says nothing of the kind, or there is
// none.
std::string why_conversion_unreadable(engine::BlockDevice& volume,
                                      const BitlockerMetadata& metadata);

// The first sector of a version 1 volume with what BitLocker put there replaced: NTFS's OEM name
// and the place of its MFT mirror.
engine::Result<std::vector<std::byte>> vista_boot_sector(engine::BlockDevice& volume,
                                                         const BitlockerMetadata& metadata,
                                                         std::uint64_t sector_bytes);

}  // namespace latchkey::keyslots
