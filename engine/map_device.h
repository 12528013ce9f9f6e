// A device made of other devices and an ExtentMap that says where each byte lives. Zero-fills what
// the map says is zero, allocates through the map on write, and orders a flush so that no table
// entry reaches the disk before the data it points at.
//
// Every extent of a write is checked, down through all layers, before the first byte is changed.
// A blank part (Placement::kBlank) reads as zeros and takes zeros, without effect: a write whose
// bytes there are not all zero fails as a whole with kOnlyZeros. write_zeroes() and discard() pass
// over it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/block_device.h"
#include "engine/extent_map.h"

namespace latchkey::engine {

class MapDevice final : public BlockDevice {
 public:
  // `below` holds the devices the map's extents index; none may be null. `writable` is the most
  // this device will allow; a read-only device below still refuses its part.
  MapDevice(std::vector<DevicePtr> below, std::unique_ptr<ExtentMap> map, const Geometry& geometry);

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  Loan do_lend(std::uint64_t offset, std::size_t length) noexcept override;
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                           WriteFlags flags) noexcept override;
  IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_flush() noexcept override;
  IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_check_bytes(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_check_zeroes(std::uint64_t offset, std::uint64_t length) noexcept override;
  Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override;
  void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept override;

  template <class AskBelow, class TakesBlank>
  IoStatus check_extents(std::uint64_t offset, std::uint64_t length, const AskBelow& ask_below,
                         const TakesBlank& takes_blank) noexcept;
  IoStatus locate(const MappedExtent& extent) const noexcept;
  IoStatus sync_below() noexcept;

  const std::vector<DevicePtr> below_;
  const std::unique_ptr<ExtentMap> map_;
  std::mutex flush_mutex_;
};

}  // namespace latchkey::engine
