// Reading from storage that fails in places: again, then sector by sector.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_device.h"

namespace latchkey::tools {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// At the end of `ranges`, which it continues where it follows on.
void add_range(std::vector<ByteRange>& ranges, const ByteRange& range);

struct ReadPatience {
  bool fill = false;                        // go on behind a sector that is lost
  const std::atomic<bool>* stop = nullptr;  // looked at between sectors
};

// Fills `into`. Where a sector cannot be read, several times over, it is zeros and in `unreadable`;
// without `fill` the first of them ends it, and the rest of `into` is not data. The status is that
// of the last failure; ok where there was none.
engine::IoStatus read_carefully(engine::BlockDevice& device, std::uint64_t offset,
                                std::span<std::byte> into, const ReadPatience& patience,
                                std::vector<ByteRange>& unreadable);

}  // namespace latchkey::tools
