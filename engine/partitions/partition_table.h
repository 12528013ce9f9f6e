// Where the partitions of a disk are: GPT (UEFI specification 2.10, chapter 5), MBR with logical
// partitions, or none. Entries that overlap, leave the disk or form a cycle are reported in the
// notices and left out, never followed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

struct Partition {
  unsigned number = 0;       // as Linux counts: GPT slot + 1; MBR 1 to 4, logical from 5
  std::uint64_t offset = 0;  // bytes from the start of the disk
  std::uint64_t length = 0;  // bytes
  std::string type;          // GPT: lower-case GUID; MBR: "0x83"
  std::string type_name;     // "Linux filesystem", "Microsoft basic data"; empty where unknown
  std::string name;          // GPT partition name, made printable; else empty
  std::string uuid;          // GPT: lower-case unique GUID; else empty
};

struct PartitionTable {
  enum class Scheme { kNone, kMbr, kGpt };
  Scheme scheme = Scheme::kNone;
  std::uint32_t sector_bytes = 512;   // the unit the table counts in: 512 or 4096
  std::string disk_id;                // GPT disk GUID, or the MBR's 32-bit signature in hex
  std::vector<Partition> partitions;  // in order of number; disjoint, inside the disk
};

// A disk without a table gives Scheme::kNone. Errors: only what the device below says (kSystem).
Result<PartitionTable> read_partition_table(BlockDevice& disk, Notices& notices);

}  // namespace latchkey::engine
