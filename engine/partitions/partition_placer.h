// The last check every partition entry passes, whatever its table: does it lie in the disk, and
// does it leave the others alone? What does not is reported and left out.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/notices.h"
#include "engine/partitions/partition_table.h"

namespace latchkey::engine {

// Takes entries in order of number. Of two that overlap the first one taken stays. One thread.
class PartitionPlacer {
 public:
  PartitionPlacer(std::uint64_t disk_bytes, std::uint32_t sector_bytes, Notices& notices)
      : disk_bytes_(disk_bytes), sector_bytes_(sector_bytes), notices_(notices) {}

  // The table's own sectors: an entry over them is reported and left out too.
  void reserve(std::uint64_t first_sector, std::uint64_t sectors);

  // `entry` has everything but offset and length, which are given in sectors; any values. One that
  // begins inside the disk and ends beyond it is cut to the whole sectors there are, with a
  // warning.
  void place(Partition entry, std::uint64_t first_sector, std::uint64_t sectors);

  std::vector<Partition> take() { return std::move(placed_); }

 private:
  struct Held {
    std::uint64_t end;
    unsigned number;  // 0: the table itself
  };
  const Held* overlapping(std::uint64_t begin, std::uint64_t end) const;

  const std::uint64_t disk_bytes_;
  const std::uint32_t sector_bytes_;
  Notices& notices_;
  std::map<std::uint64_t, Held> held_;  // by where they begin; disjoint
  std::vector<Partition> placed_;
};

}  // namespace latchkey::engine
