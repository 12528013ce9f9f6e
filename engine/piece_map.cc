#include "engine/piece_map.h"

#include <algorithm>

#include "engine/map_device.h"

namespace latchkey::engine {

PieceMap& PieceMap::data(std::size_t device, std::uint64_t offset, std::uint64_t length_bytes) {
  if (length_bytes > 0) {
    pieces_.push_back({size_bytes_, {Placement::kData, device, offset, length_bytes}});
    size_bytes_ += length_bytes;
  }
  return *this;
}

PieceMap& PieceMap::zeros(std::uint64_t length_bytes) {
  if (length_bytes > 0) {
    pieces_.push_back({size_bytes_, {Placement::kZero, 0, 0, length_bytes}});
    size_bytes_ += length_bytes;
  }
  return *this;
}

PieceMap& PieceMap::blank(std::uint64_t length_bytes) {
  if (length_bytes > 0) {
    pieces_.push_back({size_bytes_, {Placement::kBlank, 0, 0, length_bytes}});
    size_bytes_ += length_bytes;
  }
  return *this;
}

IoStatus PieceMap::lookup(std::uint64_t offset, std::uint64_t length,
                          MappedExtent& out) const noexcept {
  if (offset >= size_bytes_) return IoCode::kOutOfRange;
  const auto after = std::upper_bound(
      pieces_.begin(), pieces_.end(), offset,
      [](std::uint64_t wanted, const Piece& piece) { return wanted < piece.start; });
  const Piece& piece = *(after - 1);
  const std::uint64_t skipped = offset - piece.start;
  out = piece.extent;
  if (out.placement == Placement::kData) out.offset += skipped;
  out.length = std::min(length, piece.extent.length - skipped);
  return {};
}

DevicePtr make_slice(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes) {
  Geometry geometry = below->geometry();
  geometry.size_bytes = length_bytes;
  auto map = std::make_unique<PieceMap>();
  map->data(0, offset, length_bytes);
  return std::make_shared<MapDevice>(std::vector<DevicePtr>{std::move(below)}, std::move(map),
                                     geometry);
}

}  // namespace latchkey::engine
