#include "tools/copy/careful_read.h"

#include <algorithm>

namespace latchkey::tools {

using engine::IoStatus;

namespace {

constexpr int kTries = 3;
constexpr std::uint64_t kLeastBytes = 512;

IoStatus read_again(engine::BlockDevice& device, std::uint64_t offset, std::span<std::byte> into) {
  IoStatus status;
  for (int i = 0; i < kTries; ++i) {
    status = device.read(offset, into);
    if (status.ok()) break;
  }
  return status;
}

}  // namespace

void add_range(std::vector<ByteRange>& ranges, const ByteRange& range) {
  if (!ranges.empty() && ranges.back().offset + ranges.back().length == range.offset) {
    ranges.back().length += range.length;
  } else {
    ranges.push_back(range);
  }
}

IoStatus read_carefully(engine::BlockDevice& device, std::uint64_t offset,
                        std::span<std::byte> into, const ReadPatience& patience,
                        std::vector<ByteRange>& unreadable) {
  IoStatus last = device.read(offset, into);
  if (last.ok()) return {};
  last = {};
  const std::uint64_t unit = std::max<std::uint64_t>(device.geometry().sector_bytes, kLeastBytes);
  while (!into.empty()) {
    if (patience.stop != nullptr && patience.stop->load()) return engine::IoCode::kFailed;
    // Up to the next whole sector.
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(unit - offset % unit, into.size()));
    const std::span<std::byte> sector = into.first(length);
    if (const IoStatus status = read_again(device, offset, sector); !status.ok()) {
      std::fill(sector.begin(), sector.end(), std::byte{0});
      add_range(unreadable, {offset, length});
      last = status;
      if (!patience.fill) break;
    }
    offset += length;
    into = into.subspan(length);
  }
  return last;
}

}  // namespace latchkey::tools
