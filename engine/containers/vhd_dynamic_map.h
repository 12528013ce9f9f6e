// The ExtentMap of a dynamic VHD: where each block of the virtual disk lives in the file, and how a
// new block gets a place there so that a power cut at any moment leaves an image that opens.
//
// A new block is appended, never put where something was:
//     ... end of file | padding to come out even | bitmap, all ones | data, zeros | footer
// Data begins at a multiple of 4096, less than that is lost a block. No footer is overwritten: the
// old one stays where it was until the new one, behind the new data, is on disk; the copy at
// offset 0 is never written. The table entry changes in memory alone until MapDevice's flush has
// synced bitmap, data and footer; commit() then writes it.
//
// The sector bitmap: the specification has a 1 for each sector ever written. Reads do not look at
// it: a block's data begins as zeros, so a reader that honours the bitmap and one that ignores it
// (QEMU, and what Windows writes agrees) see the same, and an image whose writer left bits unset
// loses nothing. For those that do honour it, a block that is written to gets a bitmap of all ones
// before its data changes.
//
// Threads: lookups take no lock; allocation and commit share one mutex. Owns the file with others.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/block_device.h"
#include "engine/containers/vhd_block_table.h"
#include "engine/extent_map.h"
#include "engine/fault_log.h"

namespace latchkey::engine {

class VhdDynamicMap final : public ExtentMap {
 public:
  // `footer` is written behind each new block. Places refer to device 0, which must be `file`.
  VhdDynamicMap(std::shared_ptr<GrowableDevice> file, const VhdBlockLayout& layout,
                const std::vector<std::uint32_t>& entries,
                const std::array<std::byte, kVhdFooterBytes>& footer);

  // kDamaged for a bad entry and for what lies beyond the end of the file.
  IoStatus lookup(std::uint64_t offset, std::uint64_t length,
                  MappedExtent& out) const noexcept override;
  // kNoSpace where the file cannot grow, or past the 2 TiB a table entry reaches; nothing changes
  // then, and a later call tries again.
  IoStatus allocate(std::uint64_t offset, std::uint64_t length,
                    MappedExtent& out) noexcept override;
  bool begin_commit() noexcept override;
  IoStatus commit() noexcept override;

 private:
  enum BlockState : std::uint8_t {
    kBitmapFull = 1,  // its bitmap is known to be all ones
    kNotOnDisk = 2,   // its table entry has not been set aside for a commit
  };

  IoStatus append_block(std::size_t block) noexcept;
  IoStatus fill_bitmap(std::size_t block) noexcept;
  IoStatus write_ones(std::uint64_t offset, std::uint64_t length) noexcept;
  IoStatus write_entries(std::size_t first, std::size_t count) noexcept;

  const std::shared_ptr<GrowableDevice> file_;
  const std::uint64_t table_offset_;
  const std::uint64_t block_bytes_;
  const std::uint64_t bitmap_bytes_;
  const std::size_t block_count_;
  const std::array<std::byte, kVhdFooterBytes> footer_;
  const std::unique_ptr<std::atomic<std::uint32_t>[]> entries_;
  const std::unique_ptr<std::atomic<std::uint8_t>[]> states_;

  std::mutex mutex_;                  // for all below, and for every change of entries_ and states_
  std::uint64_t end_;                 // where the file ends as far as this map has used it
  std::vector<std::uint32_t> fresh_;  // allocated since the last begin_commit()
  std::vector<std::uint32_t> set_aside_;  // to be written by commit()

  mutable FaultReporter faults_{"vhd block table"};
};

}  // namespace latchkey::engine
