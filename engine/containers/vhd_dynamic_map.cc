#include "engine/containers/vhd_dynamic_map.h"

#include <algorithm>
#include <new>
#include <utility>

namespace latchkey::engine {
namespace {

constexpr std::uint64_t kDataAlignment = 4096;
constexpr std::size_t kPieceBytes = 4096;

constexpr std::array<std::byte, kPieceBytes> make_ones() {
  std::array<std::byte, kPieceBytes> ones{};
  ones.fill(std::byte{0xff});
  return ones;
}
constexpr auto kOnes = make_ones();

// Throws std::bad_alloc.
void make_room(std::vector<std::uint32_t>& blocks, std::size_t count) {
  if (blocks.capacity() < count) blocks.reserve(std::max<std::size_t>(64, count * 2));
}

}  // namespace

VhdDynamicMap::VhdDynamicMap(std::shared_ptr<GrowableDevice> file, const VhdBlockLayout& layout,
                             const std::vector<std::uint32_t>& entries,
                             const std::array<std::byte, kVhdFooterBytes>& footer)
    : file_(std::move(file)),
      table_offset_(layout.table_offset),
      block_bytes_(layout.block_bytes),
      bitmap_bytes_(vhd_bitmap_bytes(layout.block_bytes)),
      block_count_(entries.size()),
      footer_(footer),
      entries_(std::make_unique<std::atomic<std::uint32_t>[]>(entries.size())),
      states_(std::make_unique<std::atomic<std::uint8_t>[]>(entries.size())),
      end_(file_->size_bytes()) {
  for (std::size_t block = 0; block < block_count_; ++block) {
    entries_[block].store(entries[block], std::memory_order_relaxed);
  }
}

IoStatus VhdDynamicMap::lookup(std::uint64_t offset, std::uint64_t length,
                               MappedExtent& out) const noexcept {
  std::size_t block = offset / block_bytes_;
  if (block >= block_count_) return IoCode::kOutOfRange;
  const std::uint64_t in_block = offset % block_bytes_;
  const std::uint32_t entry = entries_[block].load(std::memory_order_acquire);
  out = {};
  out.length = std::min(length, block_bytes_ - in_block);
  if (entry == kVhdUnusedEntry) {
    // A hole is answered whole, so that a map of a sparse disk stays short.
    out.placement = Placement::kUnallocated;
    while (out.length < length && ++block < block_count_ &&
           entries_[block].load(std::memory_order_acquire) == kVhdUnusedEntry) {
      out.length = std::min(length, out.length + block_bytes_);
    }
    return {};
  }
  const std::uint64_t at = std::uint64_t{entry} * kVhdSectorBytes + bitmap_bytes_ + in_block;
  const std::uint64_t end_of_file = round_down(file_->size_bytes(), kVhdSectorBytes);
  if (entry == kVhdBadEntry || at >= end_of_file) {
    faults_.report(FaultKind::kTable, offset, IoCode::kDamaged);
    return IoCode::kDamaged;
  }
  out.placement = Placement::kData;
  out.offset = at;
  out.length = std::min(out.length, end_of_file - at);
  return {};
}

IoStatus VhdDynamicMap::allocate(std::uint64_t offset, std::uint64_t length,
                                 MappedExtent& out) noexcept {
  const std::size_t block = offset / block_bytes_;
  if (block >= block_count_) return IoCode::kOutOfRange;
  if ((states_[block].load(std::memory_order_acquire) & kBitmapFull) == 0) {
    const std::lock_guard lock(mutex_);
    IoStatus status;
    if (entries_[block].load(std::memory_order_relaxed) == kVhdUnusedEntry) {
      status = append_block(block);
    } else if ((states_[block].load(std::memory_order_relaxed) & kBitmapFull) == 0) {
      status = fill_bitmap(block);
    }
    if (!status.ok()) {
      faults_.report(FaultKind::kAllocate, offset, status);
      return status;
    }
  }
  return lookup(offset, std::min(length, block_bytes_ - offset % block_bytes_), out);
}

// Idempotent until its last lines: what a failed call left behind the old end is zeros, ones where
// a bitmap belongs and perhaps a footer, all of which the next call writes again at the same place.
IoStatus VhdDynamicMap::append_block(std::size_t block) noexcept {
  const std::uint64_t data_at = round_up(end_ + bitmap_bytes_, kDataAlignment);
  const std::uint64_t bitmap_at = data_at - bitmap_bytes_;
  const std::uint64_t footer_at = data_at + block_bytes_;
  const std::uint64_t sector = bitmap_at / kVhdSectorBytes;
  if (sector >= kVhdBadEntry) return IoCode::kNoSpace;
  try {
    make_room(fresh_, fresh_.size() + 1);
    make_room(set_aside_, set_aside_.size() + fresh_.size() + 1);  // for begin_commit()
  } catch (const std::bad_alloc&) {
    return {IoCode::kFailed, ENOMEM};
  }
  if (const IoStatus s = file_->grow_to(footer_at + kVhdFooterBytes); !s.ok()) return s;
  if (const IoStatus s = write_ones(bitmap_at, bitmap_bytes_); !s.ok()) return s;
  if (const IoStatus s = file_->write(footer_at, footer_); !s.ok()) return s;
  end_ = footer_at + kVhdFooterBytes;
  fresh_.push_back(static_cast<std::uint32_t>(block));
  entries_[block].store(static_cast<std::uint32_t>(sector), std::memory_order_release);
  states_[block].store(kBitmapFull | kNotOnDisk, std::memory_order_release);
  return {};
}

IoStatus VhdDynamicMap::fill_bitmap(std::size_t block) noexcept {
  const std::uint32_t entry = entries_[block].load(std::memory_order_relaxed);
  if (entry == kVhdBadEntry) return IoCode::kDamaged;
  const std::uint64_t begin = std::uint64_t{entry} * kVhdSectorBytes;
  std::array<std::byte, kPieceBytes> held;
  for (std::uint64_t done = 0; done < bitmap_bytes_;) {
    const auto piece =
        std::span(held).first(std::min<std::uint64_t>(kPieceBytes, bitmap_bytes_ - done));
    if (const IoStatus s = file_->read(begin + done, piece); !s.ok()) return s;
    if (!std::ranges::equal(piece, std::span(kOnes).first(piece.size()))) {
      if (const IoStatus s = write_ones(begin + done, piece.size()); !s.ok()) return s;
    }
    done += piece.size();
  }
  states_[block].fetch_or(kBitmapFull, std::memory_order_release);
  return {};
}

IoStatus VhdDynamicMap::write_ones(std::uint64_t offset, std::uint64_t length) noexcept {
  while (length > 0) {
    const std::size_t piece = std::min<std::uint64_t>(kPieceBytes, length);
    if (const IoStatus s = file_->write(offset, std::span(kOnes).first(piece)); !s.ok()) return s;
    offset += piece;
    length -= piece;
  }
  return {};
}

bool VhdDynamicMap::begin_commit() noexcept {
  const std::lock_guard lock(mutex_);
  for (const std::uint32_t block : fresh_) {
    states_[block].fetch_and(static_cast<std::uint8_t>(~kNotOnDisk), std::memory_order_relaxed);
  }
  // What a failed commit left is committed again, with the new ones. append_block() made room.
  set_aside_.insert(set_aside_.end(), fresh_.begin(), fresh_.end());
  fresh_.clear();
  return !set_aside_.empty();
}

// Entries are written a sector of the file at a time. Those of the same sector that are in memory
// alone are written as unused: their data may not have reached the disk.
IoStatus VhdDynamicMap::commit() noexcept {
  const std::lock_guard lock(mutex_);
  std::sort(set_aside_.begin(), set_aside_.end());
  std::size_t written_up_to = 0;
  for (const std::uint32_t block : set_aside_) {
    if (block < written_up_to) continue;
    const std::uint64_t at = table_offset_ + std::uint64_t{block} * sizeof(std::uint32_t);
    const std::uint64_t sector = round_down(at, kVhdSectorBytes);
    // The table need not begin at a sector; its entries never straddle two (vhd.cc sees to that).
    const std::uint64_t begin = std::max(sector, table_offset_);
    const std::size_t first = (begin - table_offset_) / sizeof(std::uint32_t);
    const std::size_t last = std::min<std::size_t>(
        block_count_ - 1, (sector + kVhdSectorBytes - 1 - table_offset_) / sizeof(std::uint32_t));
    if (const IoStatus s = write_entries(first, last - first + 1); !s.ok()) return s;
    written_up_to = last + 1;
  }
  set_aside_.clear();
  return {};
}

IoStatus VhdDynamicMap::write_entries(std::size_t first, std::size_t count) noexcept {
  std::array<std::byte, kVhdSectorBytes> sector;
  for (std::size_t i = 0; i < count; ++i) {
    const bool held_back = (states_[first + i].load(std::memory_order_relaxed) & kNotOnDisk) != 0;
    const std::uint32_t entry =
        held_back ? kVhdUnusedEntry : entries_[first + i].load(std::memory_order_relaxed);
    store_be(std::span(sector), i * sizeof(entry), entry);
  }
  const std::uint64_t at = table_offset_ + std::uint64_t{first} * sizeof(std::uint32_t);
  return file_->write(at, std::span(sector).first(count * sizeof(std::uint32_t)));
}

}  // namespace latchkey::engine
