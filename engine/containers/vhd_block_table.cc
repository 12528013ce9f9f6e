#include "engine/containers/vhd_block_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "engine/read_bytes.h"

namespace latchkey::engine {
namespace {

constexpr const char* kTableWhere = "vhd block table";

struct Range {
  std::uint64_t begin;
  std::uint64_t end;
  bool overlaps(const Range& other) const noexcept {
    return begin < other.end && other.begin < end;
  }
};

// A block's place in the file: its bitmap, then as much of its data as the virtual disk uses.
Range block_range(const VhdBlockLayout& layout, std::size_t block, std::uint32_t entry) {
  const std::uint64_t begin = std::uint64_t{entry} * kVhdSectorBytes;
  const std::uint64_t left = layout.disk_bytes - std::uint64_t{block} * layout.block_bytes;
  const std::uint64_t used =
      round_up(std::min<std::uint64_t>(layout.block_bytes, left), kVhdSectorBytes);
  return {begin, begin + vhd_bitmap_bytes(layout.block_bytes) + used};
}

bool in_use(std::uint32_t entry) {
  return entry != kVhdUnusedEntry && entry != kVhdBadEntry;
}

// Two blocks that share bytes: which one is right cannot be told, so neither is believed.
void mark_overlaps(const VhdBlockLayout& layout, VhdBlockTable& table) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> places;  // entry, block
  places.reserve(table.used);
  for (std::size_t block = 0; block < table.entries.size(); ++block) {
    const std::uint32_t entry = table.entries[block];
    if (in_use(entry)) places.emplace_back(entry, static_cast<std::uint32_t>(block));
  }
  if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
  std::vector<std::uint32_t> overlapping;
  std::uint64_t reached = 0;     // where the farthest block so far ends
  std::uint32_t reached_by = 0;  // which one that is
  for (const auto& [entry, block] : places) {
    const Range range = block_range(layout, block, entry);
    if (range.begin < reached) {
      overlapping.push_back(block);
      overlapping.push_back(reached_by);
    }
    if (range.end > reached) {
      reached = range.end;
      reached_by = block;
    }
  }
  for (const std::uint32_t block : overlapping) {
    if (table.entries[block] == kVhdBadEntry) continue;
    table.entries[block] = kVhdBadEntry;
    ++table.bad;
  }
}

void report(const VhdBlockTable& table, Notices& notices) {
  if (table.bad > 0) {
    notices.damage(kTableWhere,
                   fmt::format("{} of {} allocated blocks lie inside the metadata or over "
                               "each other; reading them fails",
                               table.bad, table.used));
  }
  if (table.beyond > 0) {
    notices.warn(kTableWhere,
                 fmt::format("{} of {} allocated blocks end beyond the end of the file, "
                             "which is cut short; reading what is missing fails",
                             table.beyond, table.used));
  }
}

}  // namespace

Result<VhdBlockTable> load_vhd_block_table(BlockDevice& file, const VhdBlockLayout& layout,
                                           Notices& notices) {
  const std::uint64_t entries = layout.disk_bytes / layout.block_bytes +
                                (layout.disk_bytes % layout.block_bytes != 0 ? 1 : 0);
  if (entries > kMaxVhdTableBytes / sizeof(std::uint32_t)) {
    return Error(
        ErrorCode::kNotSupported,
        fmt::format("vhd block table: {} entries are more than this version holds", entries));
  }
  const std::uint64_t table_bytes = entries * sizeof(std::uint32_t);
  auto raw = read_bytes(file, layout.table_offset, table_bytes, kTableWhere);
  if (!raw) return std::move(raw).error();

  const Range whole_table{layout.table_offset, layout.table_offset + table_bytes};
  const Range header{layout.header_offset, layout.header_offset + kVhdHeaderBytes};
  const Range front_footer{0, kVhdFooterBytes};
  if (whole_table.overlaps(header) || whole_table.overlaps(front_footer)) {
    return Error(ErrorCode::kDamaged,
                 "vhd block table: it lies over the footer copy or the header");
  }
  const Range end_footer = layout.footer_at
                               ? Range{*layout.footer_at, *layout.footer_at + kVhdFooterBytes}
                               : Range{0, 0};
  const std::array metadata = {front_footer, header, whole_table, end_footer};

  VhdBlockTable table;
  table.entries.resize(entries);
  for (std::size_t block = 0; block < entries; ++block) {
    std::uint32_t& entry = table.entries[block];
    entry = load_be<std::uint32_t>(*raw, block * sizeof(std::uint32_t));
    if (entry == kVhdUnusedEntry) continue;
    ++table.used;
    const Range range = block_range(layout, block, entry);
    const bool inside_metadata =
        std::ranges::any_of(metadata, [&](const Range& other) { return range.overlaps(other); });
    if (inside_metadata || entry == kVhdBadEntry) {
      entry = kVhdBadEntry;
      ++table.bad;
    } else if (range.end > file.size_bytes()) {
      ++table.beyond;
    }
  }
  mark_overlaps(layout, table);
  report(table, notices);
  return table;
}

}  // namespace latchkey::engine
