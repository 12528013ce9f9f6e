#include "engine/partitions/gpt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/crc32.h"
#include "engine/guid.h"
#include "engine/partitions/partition_placer.h"
#include "engine/partitions/partition_types.h"
#include "engine/utf16.h"

namespace latchkey::engine {
namespace {

constexpr const char* kGptWhere = "gpt";
constexpr std::array<std::uint32_t, 2> kSectorSizes = {512, 4096};
constexpr std::size_t kHeaderBytes = 92;  // the fields there are; more is reserved
constexpr std::size_t kNameAt = 56;
constexpr std::size_t kNameBytes = 72;
constexpr const char* kUnusedType = "00000000-0000-0000-0000-000000000000";

GptAttempt damaged(GptAttempt attempt, std::string reason) {
  attempt.state = GptAttempt::State::kDamaged;
  attempt.reason = std::move(reason);
  return attempt;
}

// In sectors of the copy; nothing overflows for any `first`.
bool in_disk(const BlockDevice& disk, std::uint32_t sector_bytes, std::uint64_t first,
             std::uint64_t length_bytes) {
  const std::uint64_t disk_sectors = disk.size_bytes() / sector_bytes;
  return first < disk_sectors && disk.in_range(first * sector_bytes, length_bytes);
}

void parse_header(Bytes sector, GptCopy& copy) {
  copy.alternate_lba = load_le<std::uint64_t>(sector, 32);
  copy.first_usable_lba = load_le<std::uint64_t>(sector, 40);
  copy.last_usable_lba = load_le<std::uint64_t>(sector, 48);
  copy.disk_guid = guid_text(sector, 56);
  copy.array_lba = load_le<std::uint64_t>(sector, 72);
  copy.entry_count = load_le<std::uint32_t>(sector, 80);
  copy.entry_bytes = load_le<std::uint32_t>(sector, 84);
  copy.array_crc = load_le<std::uint32_t>(sector, 88);
}

// What is wrong with the header itself; empty: nothing.
std::string check_header(Bytes sector, std::uint64_t lba) {
  const auto revision = load_le<std::uint32_t>(sector, 8);
  const auto header_bytes = load_le<std::uint32_t>(sector, 12);
  if (header_bytes < kHeaderBytes || header_bytes > sector.size()) {
    return fmt::format("a header size of {} is not possible", header_bytes);
  }
  std::vector<std::byte> summed(sector.begin(), sector.begin() + header_bytes);
  store_le<std::uint32_t>(summed, 16, 0);
  if (crc32(summed) != load_le<std::uint32_t>(sector, 16))
    return "the checksum of its header is wrong";
  if (revision >> 16 != 1) {
    return fmt::format("revision {}.{} is not known", revision >> 16, revision & 0xffff);
  }
  if (load_le<std::uint64_t>(sector, 24) != lba) return "it says that it belongs to another sector";
  return {};
}

std::string check_array(const GptCopy& copy) {
  if (copy.entry_bytes < 128 || copy.entry_bytes > 4096 || !std::has_single_bit(copy.entry_bytes)) {
    return fmt::format("an entry size of {} is not possible", copy.entry_bytes);
  }
  if (copy.entry_count == 0 ||
      std::uint64_t{copy.entry_count} * copy.entry_bytes > kMaxGptArrayBytes) {
    return fmt::format("{} entries of {} bytes are not possible", copy.entry_count,
                       copy.entry_bytes);
  }
  return {};
}

PartitionTable make_table(const BlockDevice& disk, const GptCopy& copy, Notices& notices) {
  PartitionTable table;
  table.scheme = PartitionTable::Scheme::kGpt;
  table.sector_bytes = copy.sector_bytes;
  table.disk_id = copy.disk_guid;
  PartitionPlacer placer(disk.size_bytes(), copy.sector_bytes, notices);
  placer.reserve(0, 1);
  placer.reserve(copy.header_lba, 1);
  placer.reserve(copy.array_lba, (copy.array.size() + copy.sector_bytes - 1) / copy.sector_bytes);
  for (std::uint32_t i = 0; i < copy.entry_count; ++i) {
    const Bytes entry =
        Bytes(copy.array).subspan(std::size_t{i} * copy.entry_bytes, copy.entry_bytes);
    Partition partition;
    partition.type = guid_text(entry, 0);
    if (partition.type == kUnusedType) continue;
    partition.number = i + 1;
    partition.type_name = gpt_type_name(partition.type);
    partition.name = utf16_text(entry.subspan(kNameAt, kNameBytes), std::endian::little);
    partition.uuid = guid_text(entry, 16);
    const auto first = load_le<std::uint64_t>(entry, 32);
    const auto last = load_le<std::uint64_t>(entry, 40);
    // A range of all 64-bit sectors would overflow its own length; it leaves the disk either way.
    const std::uint64_t sectors = last < first ? 0 : std::max(last - first, last - first + 1);
    if (first < copy.first_usable_lba || last > copy.last_usable_lba) {
      notices.note(fmt::format("partition {}", partition.number),
                   "it lies partly outside the range that the gpt header says is usable");
    }
    placer.place(std::move(partition), first, sectors);
  }
  table.partitions = placer.take();
  return table;
}

// The primary is good; is the copy that should save it one day?
void check_backup(BlockDevice& disk, const GptCopy& primary, Notices& notices) {
  const std::uint64_t last_lba = disk.size_bytes() / primary.sector_bytes - 1;
  if (primary.alternate_lba > last_lba) {
    notices.warn(kGptWhere,
                 fmt::format("the backup table should be at sector {} and the disk ends at "
                             "sector {}: it may be cut short",
                             primary.alternate_lba, last_lba));
    return;
  }
  const GptAttempt backup = read_gpt_copy(disk, primary.sector_bytes, primary.alternate_lba);
  if (backup.state == GptAttempt::State::kAbsent) {
    notices.warn(kGptWhere,
                 fmt::format("there is no backup table at sector {}", primary.alternate_lba));
  } else if (backup.state == GptAttempt::State::kDamaged) {
    notices.warn(kGptWhere, "the backup table is damaged: " + backup.reason);
  } else if (backup.copy.array != primary.array) {
    notices.warn(kGptWhere, "the backup table differs from the primary one, which is used");
  }
}

std::optional<GptCopy> find_backup(BlockDevice& disk, const GptAttempt& primary) {
  for (const std::uint32_t sector_bytes : kSectorSizes) {
    const bool trace = primary.state == GptAttempt::State::kDamaged;
    if (trace && primary.copy.sector_bytes != sector_bytes) continue;
    const std::uint64_t sectors = disk.size_bytes() / sector_bytes;
    if (sectors < 3) continue;
    const std::array candidates = {trace ? primary.copy.alternate_lba : sectors - 1, sectors - 1,
                                   sectors - 2};
    for (const std::uint64_t lba : candidates) {
      if (lba < 2) continue;
      GptAttempt backup = read_gpt_copy(disk, sector_bytes, lba);
      if (backup.state == GptAttempt::State::kGood) return std::move(backup.copy);
    }
  }
  return std::nullopt;
}

}  // namespace

GptAttempt read_gpt_copy(BlockDevice& disk, std::uint32_t sector_bytes, std::uint64_t lba) {
  GptAttempt attempt;
  attempt.copy.sector_bytes = sector_bytes;
  attempt.copy.header_lba = lba;
  if (!in_disk(disk, sector_bytes, lba, sector_bytes)) return attempt;
  std::vector<std::byte> sector(sector_bytes);
  if (!disk.read(lba * sector_bytes, sector).ok()) {
    return damaged(std::move(attempt), "its header cannot be read");
  }
  if (!starts_with(sector, 0, "EFI PART")) return attempt;
  parse_header(sector, attempt.copy);
  if (std::string wrong = check_header(sector, lba); !wrong.empty()) {
    return damaged(std::move(attempt), std::move(wrong));
  }
  GptCopy& copy = attempt.copy;
  if (std::string wrong = check_array(copy); !wrong.empty()) {
    return damaged(std::move(attempt), std::move(wrong));
  }
  const std::uint64_t array_bytes = std::uint64_t{copy.entry_count} * copy.entry_bytes;
  if (copy.array_lba == 0 || !in_disk(disk, sector_bytes, copy.array_lba, array_bytes)) {
    return damaged(std::move(attempt), "its entries do not lie in the disk");
  }
  copy.array.resize(array_bytes);
  if (!disk.read(copy.array_lba * sector_bytes, copy.array).ok()) {
    return damaged(std::move(attempt), "its entries cannot be read");
  }
  if (crc32(copy.array) != copy.array_crc) {
    return damaged(std::move(attempt), "the checksum of its entries is wrong");
  }
  attempt.state = GptAttempt::State::kGood;
  return attempt;
}

std::optional<PartitionTable> read_gpt(BlockDevice& disk, bool search, Notices& notices) {
  GptAttempt primary;
  for (const std::uint32_t sector_bytes : kSectorSizes) {
    GptAttempt attempt = read_gpt_copy(disk, sector_bytes, 1);
    if (attempt.state == GptAttempt::State::kGood) {
      check_backup(disk, attempt.copy, notices);
      return make_table(disk, attempt.copy, notices);
    }
    if (primary.state == GptAttempt::State::kAbsent) primary = std::move(attempt);
  }
  const bool trace = primary.state == GptAttempt::State::kDamaged;
  if (!trace && !search) return std::nullopt;
  const std::string found = trace ? "the primary table is damaged: " + primary.reason
                                  : std::string("the primary table is missing");
  if (const auto backup = find_backup(disk, primary)) {
    notices.warn(kGptWhere, found + "; the backup table is used");
    return make_table(disk, *backup, notices);
  }
  notices.damage(kGptWhere, found + ", and there is no good backup table either");
  return std::nullopt;
}

}  // namespace latchkey::engine
