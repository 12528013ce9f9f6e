#include "engine/map_device.h"

#include <algorithm>

#include "engine/bytes.h"

namespace latchkey::engine {

MapDevice::MapDevice(std::vector<DevicePtr> below, std::unique_ptr<ExtentMap> map,
                     const Geometry& geometry)
    : BlockDevice(geometry), below_(std::move(below)), map_(std::move(map)) {}

// An extent that a damaged table could have made up is checked here, once, for every map.
IoStatus MapDevice::locate(const MappedExtent& extent) const noexcept {
  if (extent.length == 0) return IoCode::kDamaged;
  if (extent.placement != Placement::kData) return {};
  if (extent.device >= below_.size()) return IoCode::kDamaged;
  return below_[extent.device]->in_range(extent.offset, extent.length) ? IoStatus()
                                                                       : IoCode::kDamaged;
}

IoStatus MapDevice::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  while (!into.empty()) {
    MappedExtent extent;
    if (const IoStatus s = map_->lookup(offset, into.size(), extent); !s.ok()) return s;
    if (const IoStatus s = locate(extent); !s.ok()) return s;
    const auto piece = into.first(extent.length);
    if (extent.placement == Placement::kData) {
      if (const IoStatus s = below_[extent.device]->read(extent.offset, piece); !s.ok()) return s;
    } else {
      std::memset(piece.data(), 0, piece.size());
    }
    offset += extent.length;
    into = into.subspan(extent.length);
  }
  return {};
}

// Only out of one extent: what lies in two is not in one piece of memory.
Loan MapDevice::do_lend(std::uint64_t offset, std::size_t length) noexcept {
  MappedExtent extent;
  if (!map_->lookup(offset, length, extent).ok() || !locate(extent).ok()) return {};
  if (extent.placement != Placement::kData || extent.length < length) return {};
  return below_[extent.device]->lend(extent.offset, length);
}

// Any other refusal comes before kOnlyZeros, wherever in the range they lie: what that one says is
// that zeros would be taken.
template <class AskBelow, class TakesBlank>
IoStatus MapDevice::check_extents(std::uint64_t offset, std::uint64_t length,
                                  const AskBelow& ask_below,
                                  const TakesBlank& takes_blank) noexcept {
  bool only_zeros = false;
  for (std::uint64_t done = 0; done < length;) {
    MappedExtent extent;
    if (const IoStatus s = map_->lookup(offset + done, length - done, extent); !s.ok()) return s;
    if (const IoStatus s = locate(extent); !s.ok()) return s;
    if (extent.placement == Placement::kZero) return IoCode::kSealed;
    if (extent.placement == Placement::kBlank && !takes_blank(done, extent)) only_zeros = true;
    if (extent.placement == Placement::kData) {
      const IoStatus s = ask_below(*below_[extent.device], done, extent);
      if (s.code() == IoCode::kReadOnly) return IoCode::kSealed;
      if (s.code() == IoCode::kOnlyZeros) {
        only_zeros = true;
      } else if (!s.ok()) {
        return s;
      }
    }
    done += extent.length;
  }
  return only_zeros ? IoCode::kOnlyZeros : IoCode::kOk;
}

IoStatus MapDevice::do_check_write(std::uint64_t offset, std::uint64_t length) noexcept {
  return check_extents(
      offset, length,
      [](BlockDevice& below, std::uint64_t, const MappedExtent& extent) {
        return below.check_write(extent.offset, extent.length);
      },
      [](std::uint64_t, const MappedExtent&) { return false; });
}

IoStatus MapDevice::do_check_bytes(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  return check_extents(
      offset, from.size(),
      [from](BlockDevice& below, std::uint64_t done, const MappedExtent& extent) {
        return below.check_write(extent.offset, from.subspan(done, extent.length));
      },
      [from](std::uint64_t done, const MappedExtent& extent) {
        return all_zero(from.subspan(done, extent.length));
      });
}

IoStatus MapDevice::do_check_zeroes(std::uint64_t offset, std::uint64_t length) noexcept {
  return check_extents(
      offset, length,
      [](BlockDevice& below, std::uint64_t, const MappedExtent& extent) {
        return below.check_write_zeroes(extent.offset, extent.length);
      },
      [](std::uint64_t, const MappedExtent&) { return true; });
}

IoStatus MapDevice::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (const IoStatus s = do_check_bytes(offset, from); !s.ok()) return s;
  while (!from.empty()) {
    MappedExtent extent;
    if (const IoStatus s = map_->allocate(offset, from.size(), extent); !s.ok()) return s;
    if (const IoStatus s = locate(extent); !s.ok()) return s;
    if (extent.placement == Placement::kData) {
      const IoStatus s = below_[extent.device]->write(extent.offset, from.first(extent.length));
      if (!s.ok()) return s;
    } else if (extent.placement != Placement::kBlank) {
      return IoCode::kSealed;
    }
    offset += extent.length;
    from = from.subspan(extent.length);
  }
  return {};
}

IoStatus MapDevice::do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                    WriteFlags flags) noexcept {
  if (const IoStatus s = do_check_zeroes(offset, length); !s.ok()) return s;
  while (length > 0) {
    MappedExtent extent;
    if (const IoStatus s = map_->lookup(offset, length, extent); !s.ok()) return s;
    const bool is_zero_already =
        extent.placement == Placement::kBlank ||
        (extent.placement == Placement::kUnallocated && !has(flags, WriteFlags::kNoHole));
    if (!is_zero_already) {
      // Allocated space must be recorded as written, so the map is asked as for any write.
      if (const IoStatus s = map_->allocate(offset, extent.length, extent); !s.ok()) return s;
      if (const IoStatus s = locate(extent); !s.ok()) return s;
      if (extent.placement != Placement::kData) return IoCode::kSealed;
      const IoStatus s = below_[extent.device]->write_zeroes(extent.offset, extent.length, flags);
      if (!s.ok()) return s;
    }
    offset += extent.length;
    length -= extent.length;
  }
  return {};
}

IoStatus MapDevice::do_discard(std::uint64_t offset, std::uint64_t length) noexcept {
  // A discard brings no bytes: blank parts, here or below, have nothing against it.
  const IoStatus taken = do_check_write(offset, length);
  if (!taken.ok() && taken.code() != IoCode::kOnlyZeros) return taken;
  while (length > 0) {
    MappedExtent extent;
    if (const IoStatus s = map_->lookup(offset, length, extent); !s.ok()) return s;
    if (const IoStatus s = locate(extent); !s.ok()) return s;
    if (extent.placement == Placement::kData) {
      const IoStatus s = below_[extent.device]->discard(extent.offset, extent.length);
      if (!s.ok()) return s;
    }
    offset += extent.length;
    length -= extent.length;
  }
  return {};
}

// Every device is synced even when one fails: the others' data should not pay for it.
IoStatus MapDevice::sync_below() noexcept {
  IoStatus first_failure;
  for (const DevicePtr& device : below_) {
    const IoStatus s = device->writable() ? device->flush() : IoStatus();
    if (!s.ok() && first_failure.ok()) first_failure = s;
  }
  return first_failure;
}

IoStatus MapDevice::do_flush() noexcept {
  const std::lock_guard lock(flush_mutex_);
  const bool table_changed = map_->begin_commit();
  if (const IoStatus s = sync_below(); !s.ok()) return s;
  if (!table_changed) return {};
  if (const IoStatus s = map_->commit(); !s.ok()) return s;
  return sync_below();
}

Extent MapDevice::do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept {
  MappedExtent extent;
  if (!map_->lookup(offset, length, extent).ok() || !locate(extent).ok()) {
    return {.length = length, .allocated = true, .reads_as_zero = false};
  }
  if (extent.placement == Placement::kData) {
    return below_[extent.device]->extent_at(extent.offset, extent.length);
  }
  return {.length = extent.length, .allocated = false, .reads_as_zero = true};
}

void MapDevice::do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept {
  while (length > 0) {
    MappedExtent extent;
    if (!map_->lookup(offset, length, extent).ok() || !locate(extent).ok()) return;
    if (extent.placement == Placement::kData) {
      below_[extent.device]->prefetch(extent.offset, extent.length);
    }
    offset += extent.length;
    length -= extent.length;
  }
}

}  // namespace latchkey::engine
