// The GUID partition table: UEFI specification 2.10, section 5.3. A header and an array of entries
// behind the boot sector, and a second copy of both at the end of the disk, each under a CRC-32.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/partitions/partition_table.h"

namespace latchkey::engine {

// An entry array may not be larger: 128 entries of 128 bytes are usual, that is 16 KiB.
inline constexpr std::uint64_t kMaxGptArrayBytes = std::uint64_t{4} * 1024 * 1024;

struct GptCopy {
  std::uint32_t sector_bytes = 0;
  std::uint64_t header_lba = 0;
  std::uint64_t alternate_lba = 0;
  std::uint64_t first_usable_lba = 0;
  std::uint64_t last_usable_lba = 0;
  std::uint64_t array_lba = 0;
  std::uint32_t entry_count = 0;
  std::uint32_t entry_bytes = 0;
  std::uint32_t array_crc = 0;
  std::string disk_guid;
  std::vector<std::byte> array;
};

struct GptAttempt {
  enum class State { kAbsent, kDamaged, kGood };
  State state = State::kAbsent;
  std::string reason;  // kDamaged: what is wrong with it
  GptCopy copy;        // kGood: all of it; kDamaged: the header's fields, not to be trusted
};

// One copy, its header at `lba`, everything checked: signature, revision, header size and CRC, its
// own place, entry size and count, the array's place and CRC. What cannot be read is kDamaged.
GptAttempt read_gpt_copy(BlockDevice& disk, std::uint32_t sector_bytes, std::uint64_t lba);

// The primary, in either sector size; when it is damaged, the backup that it names, that of the
// disk's last sector, or of the last but one (a raw disk with a VHD footer after it). `search` says
// that the backup is worth looking for though there is no trace of a primary. Nothing where no copy
// is good; damage that explains it is then in the notices if there was a trace or `search` is set.
std::optional<PartitionTable> read_gpt(BlockDevice& disk, bool search, Notices& notices);

}  // namespace latchkey::engine
