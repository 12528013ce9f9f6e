// From a segment of LUKS2 metadata to what the engine needs to read it. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "engine/result.h"
#include "engine/sector_cipher.h"
#include "keyslots/luks/luks2_metadata.h"

namespace latchkey::keyslots {

// The unit in which LUKS2 counts tweaks, whatever the sector size (cryptsetup's man page,
// "sector_size"; the kernel's iv_large_sectors is never set).
inline constexpr std::uint64_t kLuks2TweakUnitBytes = 512;

// The cipher of a segment of type crypt, for data that starts `skipped` bytes into it.
engine::Result<engine::CipherSpec> luks2_cipher_of(const Luks2Segment& segment,
                                                   std::uint64_t skipped = 0);

// The size of the volume key a digest verifies, as its key slots say; 0 where it has none.
std::uint32_t luks2_key_bytes_of(const Luks2Metadata& metadata, const Luks2Digest& digest);

// Why a crypt segment cannot be read with the key of that digest (null: none is known); else empty.
std::string why_luks2_segment_unusable(const Luks2Metadata& metadata, const Luks2Segment& segment,
                                       const Luks2Digest* digest);

}  // namespace latchkey::keyslots
