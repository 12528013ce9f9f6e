// Reading from storage that fails in places: again, then sector by sector.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_device.h"

namespace latchkey::tools {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Fills `into`. Where a sector cannot be read, several times over, it is zeros and in `unreadable`
// (in order, neighbours joined). The status is that of the last failure; ok where there was none.
engine::IoStatus read_carefully(engine::BlockDevice& device, std::uint64_t offset,
                                std::span<std::byte> into, std::vector<ByteRange>& unreadable);

}  // namespace latchkey::tools
