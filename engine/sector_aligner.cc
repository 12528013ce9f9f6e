#include "engine/sector_aligner.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "engine/bytes.h"

namespace latchkey::engine {

SectorAligner::SectorAligner(DevicePtr below, std::uint32_t sector_bytes)
    : BlockDevice(below->geometry()), below_(std::move(below)), sector_bytes_(sector_bytes) {
  assert(sector_bytes_ > 0 && sector_bytes_ <= kMaxSectorBytes);
  assert((sector_bytes_ & (sector_bytes_ - 1)) == 0 && size_bytes() % sector_bytes_ == 0);
}

IoStatus SectorAligner::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  const std::uint64_t first = round_down(offset, sector_bytes_);
  const std::uint64_t length = round_up(offset + into.size(), sector_bytes_) - first;
  constexpr int kTries = 4;
  for (int i = 0; i < kTries; ++i) {
    const auto before = clock_.time(first, length);
    if (!before) continue;
    const IoStatus status = read_once(offset, into);
    if (!status.ok() || clock_.time(first, length) == before) return status;
  }
  const RangeLock::Guard guard(writers_, first, length);  // busy sectors: wait for our turn
  return read_once(offset, into);
}

IoStatus SectorAligner::read_once(std::uint64_t offset, std::span<std::byte> into) noexcept {
  // Partial first sector, whole sectors straight into the caller's buffer, partial last sector.
  while (!into.empty()) {
    const std::uint64_t sector = round_down(offset, sector_bytes_);
    const std::size_t skipped = offset - sector;
    if (skipped == 0 && into.size() >= sector_bytes_) {
      const std::size_t whole = round_down(into.size(), sector_bytes_);
      if (const IoStatus s = below_->read(offset, into.first(whole)); !s.ok()) return s;
      offset += whole;
      into = into.subspan(whole);
      continue;
    }
    std::array<std::byte, kMaxSectorBytes> buffer;
    const auto whole_sector = std::span(buffer).first(sector_bytes_);
    if (const IoStatus s = below_->read(sector, whole_sector); !s.ok()) return s;
    const std::size_t wanted = std::min<std::size_t>(into.size(), sector_bytes_ - skipped);
    std::memcpy(into.data(), buffer.data() + skipped, wanted);
    offset += wanted;
    into = into.subspan(wanted);
  }
  return {};
}

// `from` lies inside one sector. The caller holds the lock on that sector.
IoStatus SectorAligner::merge_sector(std::uint64_t offset,
                                     std::span<const std::byte> from) noexcept {
  std::array<std::byte, kMaxSectorBytes> buffer;
  const auto whole_sector = std::span(buffer).first(sector_bytes_);
  const std::uint64_t sector = round_down(offset, sector_bytes_);
  if (const IoStatus s = below_->read(sector, whole_sector); !s.ok()) return s;
  std::memcpy(buffer.data() + (offset - sector), from.data(), from.size());
  return below_->write(sector, whole_sector);
}

IoStatus SectorAligner::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const std::uint64_t first = round_down(offset, sector_bytes_);
  const std::uint64_t end = round_up(offset + from.size(), sector_bytes_);
  const RangeLock::Guard guard(writers_, first, end - first);
  const WriteClock::Tick tick(clock_, first, end - first);
  if (first != offset || end != offset + from.size()) {
    // A merge writes part by part: ask for the whole first, so that a refusal changes nothing.
    if (const IoStatus s = below_->check_write(first, end - first); !s.ok()) return s;
  }
  while (!from.empty()) {
    const std::size_t skipped = offset % sector_bytes_;
    std::size_t piece = 0;
    IoStatus status;
    if (skipped == 0 && from.size() >= sector_bytes_) {
      piece = round_down(from.size(), sector_bytes_);
      status = below_->write(offset, from.first(piece));
    } else {
      piece = std::min<std::size_t>(from.size(), sector_bytes_ - skipped);
      status = merge_sector(offset, from.first(piece));
    }
    if (!status.ok()) return status;
    offset += piece;
    from = from.subspan(piece);
  }
  return {};
}

IoStatus SectorAligner::do_discard(std::uint64_t offset, std::uint64_t length) noexcept {
  // Only sectors that lie wholly inside the range may be given back.
  const std::uint64_t first = round_up(offset, sector_bytes_);
  const std::uint64_t end = round_down(offset + length, sector_bytes_);
  if (first >= end) return {};
  const RangeLock::Guard guard(writers_, first, end - first);
  return below_->discard(first, end - first);
}

IoStatus SectorAligner::do_flush() noexcept {
  return below_->flush();
}

IoStatus SectorAligner::do_check_write(std::uint64_t offset, std::uint64_t length) noexcept {
  const std::uint64_t first = round_down(offset, sector_bytes_);
  return below_->check_write(first, round_up(offset + length, sector_bytes_) - first);
}

Extent SectorAligner::do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept {
  return below_->extent_at(offset, length);
}

void SectorAligner::do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept {
  const std::uint64_t first = round_down(offset, sector_bytes_);
  below_->prefetch(first, round_up(offset + length, sector_bytes_) - first);
}

}  // namespace latchkey::engine
