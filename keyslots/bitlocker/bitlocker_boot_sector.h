// The boot sector of a BitLocker volume: where the three copies of the metadata are.
//
// Windows 7 and later look for one of two GUIDs anywhere in the sector, followed by the offsets;
// fixed disks have it at byte 160 behind the OEM name "-FVE-FS-", To Go volumes at 424 of what
// looks like a FAT or exFAT boot sector. Vista has no GUID: the cluster number of the first copy
// replaces that of NTFS's MFT mirror. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kBitlockerBootBytes = 512;

struct BitlockerBootSector {
  std::uint32_t sector_bytes = 0;   // 0: not written there; the metadata tells (some To Go volumes)
  std::uint32_t cluster_bytes = 0;  // 0: not written there
  std::vector<std::uint64_t> metadata_offsets;  // bytes: three, or the first alone (Vista)
  // Of the recording of an encrypt-on-write conversion; only with that GUID.
  std::optional<std::array<std::uint64_t, 2>> eow_offsets;
  std::uint64_t volume_sectors = 0;  // Vista only; 0 elsewhere
  bool vista = false;                // found by its cluster number, without a GUID
};

// Nothing where the sector is not BitLocker's. kDamaged where it is and cannot be used: the
// metadata may still be found by searching. `sector` holds kBitlockerBootBytes.
engine::Result<std::optional<BitlockerBootSector>> parse_bitlocker_boot_sector(
    engine::Bytes sector);

}  // namespace latchkey::keyslots
