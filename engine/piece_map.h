// The map of everything whose layout is known when it is opened: partitions, LUKS payloads, a disk
// with its volumes put in place. A gapless list of pieces, searched by offset. Immutable, so free
// of locks and safe for any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/block_device.h"
#include "engine/extent_map.h"

namespace latchkey::engine {

// Built from the start of the device to its end; each call appends.
class PieceMap final : public ExtentMap {
 public:
  PieceMap& data(std::size_t device, std::uint64_t offset, std::uint64_t length_bytes);
  PieceMap& zeros(std::uint64_t length_bytes);  // Placement::kZero
  PieceMap& blank(std::uint64_t length_bytes);  // Placement::kBlank

  std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  IoStatus lookup(std::uint64_t offset, std::uint64_t length,
                  MappedExtent& out) const noexcept override;

 private:
  struct Piece {
    std::uint64_t start;
    MappedExtent extent;
  };
  std::vector<Piece> pieces_;
  std::uint64_t size_bytes_ = 0;
};

// The bytes [offset, offset + length) of `below` as a device of its own. The range must lie inside.
DevicePtr make_slice(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes);

}  // namespace latchkey::engine
