#include "engine/partitions/mbr.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/partitions/partition_placer.h"
#include "engine/partitions/partition_types.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kEntriesAt = 446;
constexpr std::size_t kMbrEntryBytes = 16;

Partition make_partition(unsigned number, const MbrEntry& entry) {
  Partition partition;
  partition.number = number;
  partition.type = fmt::format("0x{:02x}", entry.type);
  partition.type_name = mbr_type_name(entry.type);
  return partition;
}

// Follows one extended partition. `next_number` counts on over several of them, as Linux does.
class LogicalChain {
 public:
  LogicalChain(BlockDevice& disk, std::uint32_t sector_bytes, PartitionPlacer& placer,
               Notices& notices)
      : disk_(disk), sector_bytes_(sector_bytes), placer_(placer), notices_(notices) {}

  void follow(const MbrEntry& extended) {
    const std::uint64_t base = extended.first_sector;
    const std::uint64_t end = base + extended.sectors;
    std::uint64_t record = base;
    while (true) {
      if (!visited_.insert(record).second) {
        stop(record, "the chain comes back to a record it has been at");
        return;
      }
      std::array<std::byte, kBootSectorBytes> sector;
      if (!disk_.in_range(record * sector_bytes_, sector.size())) {
        stop(record, "it lies after the end of the disk");
        return;
      }
      if (!disk_.read(record * sector_bytes_, sector).ok()) {
        stop(record, "it cannot be read");
        return;
      }
      const BootSector parsed = parse_boot_sector(sector);
      if (!parsed.signed_boot) {
        stop(record, "its signature 55 aa is missing");
        return;
      }
      take_logical(record, parsed);
      const MbrEntry* next = next_record(parsed);
      if (next == nullptr) return;
      if (visited_.size() >= kMaxLogicalPartitions) {
        stop(record, "there are too many of them");
        return;
      }
      record = base + next->first_sector;
      if (record >= end || next->first_sector == 0) {
        stop(record, "it lies outside the extended partition");
        return;
      }
    }
  }

 private:
  static constexpr unsigned kFirstLogical = 5;

  static const MbrEntry* next_record(const BootSector& record) {
    const auto next = std::ranges::find_if(record.entries, &MbrEntry::extended);
    return next == record.entries.end() ? nullptr : &*next;
  }

  void take_logical(std::uint64_t record, const BootSector& parsed) {
    // Only the first two entries of a record mean anything; a stray third one is somebody's code.
    for (const MbrEntry& entry : std::span(parsed.entries).first(2)) {
      if (!entry.used() || entry.extended()) continue;
      // An empty record is legal: the first one of a chain whose first partition was deleted.
      if (entry.sectors == 0 && entry.first_sector == 0) continue;
      placer_.place(make_partition(next_number_++, entry), record + entry.first_sector,
                    entry.sectors);
    }
  }

  void stop(std::uint64_t record, const char* why) {
    notices_.damage("extended partition",
                    fmt::format("boot record at sector {}: {}; logical partitions from {} on are "
                                "left out",
                                record, why, next_number_));
  }

  BlockDevice& disk_;
  const std::uint32_t sector_bytes_;
  PartitionPlacer& placer_;
  Notices& notices_;
  unsigned next_number_ = kFirstLogical;
  std::set<std::uint64_t> visited_;
};

}  // namespace

bool BootSector::has_table() const noexcept {
  return signed_boot && std::ranges::all_of(entries, [](const MbrEntry& entry) {
           return entry.boot_flag == 0 || entry.boot_flag == 0x80;
         });
}

bool BootSector::has_protective() const noexcept {
  return has_table() && std::ranges::any_of(entries, &MbrEntry::protective);
}

bool BootSector::has_real_entries() const noexcept {
  return has_table() && std::ranges::any_of(entries, [](const MbrEntry& entry) {
           return entry.used() && !entry.protective();
         });
}

bool BootSector::plausible(std::uint64_t disk_sectors) const noexcept {
  if (!has_real_entries()) return false;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const MbrEntry& entry = entries[i];
    if (!entry.used()) continue;
    const std::uint64_t end = std::uint64_t{entry.first_sector} + entry.sectors;
    if (entry.first_sector == 0 || entry.sectors == 0 || end > disk_sectors) return false;
    for (std::size_t j = 0; j < i; ++j) {
      const MbrEntry& other = entries[j];
      const std::uint64_t other_end = std::uint64_t{other.first_sector} + other.sectors;
      if (other.used() && entry.first_sector < other_end && other.first_sector < end) return false;
    }
  }
  return true;
}

BootSector parse_boot_sector(Bytes sector) {
  BootSector boot;
  boot.signed_boot = sector[510] == std::byte{0x55} && sector[511] == std::byte{0xaa};
  boot.all_zero = std::ranges::all_of(sector, [](std::byte byte) { return byte == std::byte{0}; });
  boot.disk_id = load_le<std::uint32_t>(sector, 440);
  for (std::size_t i = 0; i < boot.entries.size(); ++i) {
    const std::size_t at = kEntriesAt + i * kMbrEntryBytes;
    boot.entries[i].boot_flag = std::to_integer<std::uint8_t>(sector[at]);
    boot.entries[i].type = std::to_integer<std::uint8_t>(sector[at + 4]);
    boot.entries[i].first_sector = load_le<std::uint32_t>(sector, at + 8);
    boot.entries[i].sectors = load_le<std::uint32_t>(sector, at + 12);
  }
  return boot;
}

PartitionTable read_mbr(BlockDevice& disk, const BootSector& boot, std::uint32_t sector_bytes,
                        Notices& notices) {
  PartitionTable table;
  table.scheme = PartitionTable::Scheme::kMbr;
  table.sector_bytes = sector_bytes;
  table.disk_id = fmt::format("{:08x}", boot.disk_id);
  PartitionPlacer placer(disk.size_bytes(), sector_bytes, notices);
  placer.reserve(0, 1);
  LogicalChain chain(disk, sector_bytes, placer, notices);
  for (unsigned i = 0; i < boot.entries.size(); ++i) {
    const MbrEntry& entry = boot.entries[i];
    if (entry.used() && !entry.protective() && !entry.extended()) {
      placer.place(make_partition(i + 1, entry), entry.first_sector, entry.sectors);
    }
  }
  for (const MbrEntry& entry : boot.entries) {
    if (entry.extended()) chain.follow(entry);
  }
  table.partitions = placer.take();
  return table;
}

}  // namespace latchkey::engine
