#include "engine/partitions/partition_placer.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace latchkey::engine {

const PartitionPlacer::Held* PartitionPlacer::overlapping(std::uint64_t begin,
                                                          std::uint64_t end) const {
  const auto after = held_.lower_bound(end);  // the first that begins at or after the end
  if (after == held_.begin()) return nullptr;
  const auto& [held_begin, held] = *std::prev(after);
  return held.end > begin ? &held : nullptr;
}

void PartitionPlacer::reserve(std::uint64_t first_sector, std::uint64_t sectors) {
  const std::uint64_t disk_sectors = disk_bytes_ / sector_bytes_;
  if (first_sector >= disk_sectors || sectors == 0) return;
  const std::uint64_t begin = first_sector * sector_bytes_;
  const std::uint64_t end = begin + std::min(sectors, disk_sectors - first_sector) * sector_bytes_;
  if (overlapping(begin, end) == nullptr) held_.emplace(begin, Held{end, 0});
}

void PartitionPlacer::place(Partition entry, std::uint64_t first_sector, std::uint64_t sectors) {
  const std::string where = fmt::format("partition {}", entry.number);
  const std::uint64_t disk_sectors = disk_bytes_ / sector_bytes_;
  if (sectors == 0) {
    notices_.damage(where, "its length is 0; it is left out");
    return;
  }
  if (first_sector >= disk_sectors) {
    notices_.damage(where, fmt::format("it begins at sector {}, after the end of the disk ({} "
                                       "sectors); it is left out",
                                       first_sector, disk_sectors));
    return;
  }
  const std::uint64_t there = std::min(sectors, disk_sectors - first_sector);
  const std::uint64_t begin = first_sector * sector_bytes_;
  const std::uint64_t end = begin + there * sector_bytes_;
  if (const Held* other = overlapping(begin, end)) {
    notices_.damage(where,
                    other->number == 0
                        ? std::string("it lies over the partition table; it is left out")
                        : fmt::format("it overlaps partition {}; it is left out", other->number));
    return;
  }
  if (there < sectors) {
    notices_.warn(where,
                  fmt::format("it should have {} sectors and the disk ends after {} of them; "
                              "the rest is missing",
                              sectors, there));
  }
  held_.emplace(begin, Held{end, entry.number});
  entry.offset = begin;
  entry.length = end - begin;
  placed_.push_back(std::move(entry));
}

}  // namespace latchkey::engine
