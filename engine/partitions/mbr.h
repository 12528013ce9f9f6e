// The master boot record: four primary entries and the chain of extended boot records behind an
// extended one, where each record holds one logical partition and the place of the next record.
#pragma once

#include <array>
#include <cstdint>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/notices.h"
#include "engine/partitions/partition_table.h"

namespace latchkey::engine {

inline constexpr std::size_t kBootSectorBytes = 512;
// More extended boot records than this are not followed.
inline constexpr unsigned kMaxLogicalPartitions = 124;

struct MbrEntry {
  std::uint8_t boot_flag = 0;
  std::uint8_t type = 0;
  std::uint32_t first_sector = 0;
  std::uint32_t sectors = 0;
  bool used() const noexcept { return type != 0; }
  bool protective() const noexcept { return type == 0xee; }
  bool extended() const noexcept { return type == 0x05 || type == 0x0f || type == 0x85; }
};

struct BootSector {
  bool signed_boot = false;  // ends with 55 aa
  bool all_zero = false;
  std::array<MbrEntry, 4> entries;
  std::uint32_t disk_id = 0;

  // Boot flags can only be 00 or 80: code or text in their place means that this is no table.
  bool has_table() const noexcept;
  bool has_protective() const noexcept;
  bool has_real_entries() const noexcept;  // used, and not the protective kind
  // Every used entry begins after the boot sector and inside the disk, and none overlaps another:
  // what is asked of a table in a sector that could as well be a file system's boot sector.
  bool plausible(std::uint64_t disk_sectors) const noexcept;
};

// `sector` has kBootSectorBytes.
BootSector parse_boot_sector(Bytes sector);

// The table of a boot sector with real entries; protective ones are left out. Logical partitions
// are read from the disk; a record that cannot be read ends the chain with a notice.
PartitionTable read_mbr(BlockDevice& disk, const BootSector& boot, std::uint32_t sector_bytes,
                        Notices& notices);

}  // namespace latchkey::engine
