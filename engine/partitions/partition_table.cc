#include "engine/partitions/partition_table.h"

#include <array>
#include <string_view>
#include <utility>

#include "engine/partitions/gpt.h"
#include "engine/partitions/mbr.h"
#include "engine/piece_map.h"
#include "engine/read_bytes.h"
#include "engine/signatures.h"

namespace latchkey::engine {
namespace {

constexpr std::uint32_t kSmallSector = 512;
constexpr std::uint32_t kLargeSector = 4096;

bool any_content(const std::shared_ptr<BlockDevice>& disk, const PartitionTable& table) {
  for (const Partition& partition : table.partitions) {
    const DevicePtr slice = make_slice(disk, partition.offset, partition.length);
    if (!identify_content(*slice).empty()) return true;
  }
  return false;
}

// A view that does not own what it looks at, for make_slice().
std::shared_ptr<BlockDevice> borrow(BlockDevice& disk) {
  return {&disk, [](BlockDevice*) {}};
}

// An MBR does not say in which unit it counts. Sectors of 512 bytes, unless the partitions then
// hold nothing known and with 4096 do: a disk that was copied from a 4K-native one.
PartitionTable read_mbr_either_unit(BlockDevice& disk, const BootSector& boot, Notices& notices) {
  const auto view = borrow(disk);
  Notices small_notices;
  PartitionTable small = read_mbr(disk, boot, kSmallSector, small_notices);
  Notices large_notices;
  PartitionTable large = read_mbr(disk, boot, kLargeSector, large_notices);
  const bool use_large =
      !large.partitions.empty() && !any_content(view, small) && any_content(view, large);
  notices.append(use_large ? large_notices : small_notices);
  return use_large ? std::move(large) : std::move(small);
}

PartitionTable read_protected_gpt(BlockDevice& disk, const BootSector& boot, Notices& notices) {
  if (auto table = read_gpt(disk, true, notices)) {
    if (boot.has_real_entries()) {
      notices.note("mbr", "it is a hybrid one: entries besides the protective one are left out");
    }
    return std::move(*table);
  }
  if (boot.has_real_entries()) return read_mbr_either_unit(disk, boot, notices);
  return {};
}

}  // namespace

Result<PartitionTable> read_partition_table(BlockDevice& disk, Notices& notices) {
  if (disk.size_bytes() < kBootSectorBytes) return PartitionTable{};
  std::array<std::byte, kBootSectorBytes> sector;
  if (auto done = read_bytes(disk, 0, sector, "boot sector"); !done) {
    return std::move(done).error();
  }
  const BootSector boot = parse_boot_sector(sector);
  if (boot.has_protective()) return read_protected_gpt(disk, boot, notices);

  // No protective entry. A file system or an encrypted volume that fills the whole disk may have a
  // boot sector with the same signature, and an old table's remains behind it.
  const bool whole_disk_content = !identify_content(disk).empty();
  if (boot.has_real_entries() &&
      (!whole_disk_content || boot.plausible(disk.size_bytes() / kSmallSector))) {
    return read_mbr_either_unit(disk, boot, notices);
  }
  if (whole_disk_content) return PartitionTable{};
  // A wiped boot sector does not make the table behind it wrong.
  Notices gpt_notices;
  auto table = read_gpt(disk, false, gpt_notices);
  if (!table && boot.all_zero) {
    Notices search_notices;
    table = read_gpt(disk, true, search_notices);
    if (table) gpt_notices = std::move(search_notices);
  }
  notices.append(gpt_notices);
  if (!table) return PartitionTable{};
  notices.warn("mbr", "the protective entry that belongs to a gpt is missing");
  return std::move(*table);
}

}  // namespace latchkey::engine
