// Finding a BitLocker volume and the copies of its metadata, of which any may be bad.
//
// The boot sector names three copies (Vista's one, and that the others). Where it is damaged but
// still BitLocker's, the whole device is searched for a copy, and for the record of an
// encrypt-on-write conversion, which only the boot sector names; where it was wiped, the first GiB;
// where something unknown is in its place, as in many images that are none of BitLocker's, the
// first 64 MiB, in which Windows often has a copy. One thread; reads the device while the volume is
// opened.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/bitlocker/bitlocker_boot_sector.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"

namespace latchkey::keyslots {

struct FoundBitlocker {
  BitlockerBootSector boot;  // where it was damaged: what the search could find out
  bool boot_damaged = false;
  std::uint32_t sector_bytes = 512;
  // Never empty. All that are sound, those whose sum holds first, else in order.
  std::vector<BitlockerMetadata> copies;
};

inline constexpr std::uint64_t kBitlockerSearchBytes = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kBitlockerGlanceBytes = std::uint64_t{64} << 20;

// Nothing where the device holds no BitLocker volume. kDamaged where it does, but no copy of its
// metadata is sound; kNotSupported where all are of a version that is not known. Whatever was got
// around is a notice.
engine::Result<std::optional<FoundBitlocker>> find_bitlocker(engine::BlockDevice& device,
                                                             engine::Notices& notices);

}  // namespace latchkey::keyslots
