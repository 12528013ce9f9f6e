// A dynamic VHD's block allocation table, read whole and checked against the file: "Block
// Allocation Table and Data Blocks" of the specification. An entry is the sector where a block's
// bitmap begins; the data follows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/containers/vhd_format.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

// Stands in memory for an entry that cannot be true: no block can begin at such a sector, because
// its end would lie beyond what a 32-bit sector number reaches.
inline constexpr std::uint32_t kVhdBadEntry = 0xfffffffe;
// More than this many bytes of table are refused: a 2 TiB disk of 2 MiB blocks needs 4 MiB.
inline constexpr std::uint64_t kMaxVhdTableBytes = std::uint64_t{64} * 1024 * 1024;

struct VhdBlockLayout {
  std::uint64_t header_offset = 0;
  std::uint64_t table_offset = 0;
  std::uint32_t block_bytes = 0;  // a power of two, at least a sector
  std::uint64_t disk_bytes = 0;   // of the virtual disk, after all checks
  std::optional<std::uint64_t> footer_at;
};

struct VhdBlockTable {
  std::vector<std::uint32_t> entries;  // as many as the virtual disk needs
  std::uint64_t used = 0;
  std::uint64_t bad = 0;     // now kVhdBadEntry: inside the metadata or over each other
  std::uint64_t beyond = 0;  // end after the end of the file
};

// Errors: kDamaged (the table leaves the file or lies over other metadata), kNotSupported (too
// large), kSystem. Bad entries and blocks beyond the end are notices.
Result<VhdBlockTable> load_vhd_block_table(BlockDevice& file, const VhdBlockLayout& layout,
                                           Notices& notices);

}  // namespace latchkey::engine
