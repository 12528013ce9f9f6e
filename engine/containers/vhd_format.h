// The structures of a VHD file, taken apart: footer and dynamic disk header ("Virtual Hard Disk
// Image Format Specification", Microsoft, version 1.0, big-endian throughout), and the rule for the
// size of the virtual disk. Pure functions on bytes; no I/O, any thread. Parsing fails only where
// the cookie is not there: whether the numbers can be used is the caller's question.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/bytes.h"

namespace latchkey::engine {

inline constexpr std::uint64_t kVhdSectorBytes = 512;
inline constexpr std::size_t kVhdFooterBytes = 512;
inline constexpr std::size_t kVhdOldFooterBytes = 511;  // before Virtual PC 2004
inline constexpr std::size_t kVhdHeaderBytes = 1024;
inline constexpr std::size_t kVhdFooterChecksumAt = 64;
inline constexpr std::size_t kVhdHeaderChecksumAt = 36;
inline constexpr std::uint32_t kVhdUnusedEntry = 0xffffffff;

enum class VhdType : std::uint32_t { kFixed = 2, kDynamic = 3, kDifferencing = 4 };

// "Hard Disk Footer Format".
struct VhdFooter {
  std::array<std::byte, kVhdFooterBytes> raw{};  // as on disk; an old footer has a zero appended
  std::uint16_t major_version = 0;
  std::uint64_t data_offset = 0;
  std::uint32_t created = 0;  // seconds since 2000-01-01 00:00 UTC
  std::string creator;        // up to four characters, made printable
  std::uint64_t original_size = 0;
  std::uint64_t current_size = 0;
  std::uint32_t cylinders = 0;
  std::uint32_t heads = 0;
  std::uint32_t sectors = 0;
  std::uint32_t type = 0;  // VhdType, or anything a damaged file says
  std::string uuid;        // lower case
  bool saved_state = false;
  bool checksum_good = false;

  bool is(VhdType wanted) const noexcept { return type == static_cast<std::uint32_t>(wanted); }
  // Version 1 and one of the three types: what a footer must say before its numbers mean anything.
  bool sound() const noexcept;
  std::uint64_t geometry_bytes() const noexcept;
  // Creator Virtual PC, and a geometry below its maximum: that guest saw cylinders x heads x
  // sectors and nothing beyond.
  bool guest_saw_geometry() const noexcept;
  // The size of the virtual disk as the footer has it, not yet checked against the file: the
  // current size, except where guest_saw_geometry() and the geometry is the smaller.
  std::uint64_t disk_bytes() const noexcept;
  // Do two copies describe the same disk? Timestamps and the saved state may differ.
  bool same_disk(const VhdFooter& other) const noexcept;
};

// `from` has kVhdFooterBytes or kVhdOldFooterBytes. Nothing where it does not begin with the
// cookie.
std::optional<VhdFooter> parse_vhd_footer(Bytes from);

// "Dynamic Disk Header Format".
struct VhdDynamicHeader {
  std::uint64_t table_offset = 0;
  std::uint16_t major_version = 0;
  std::uint32_t table_entries = 0;
  std::uint32_t block_bytes = 0;
  std::string parent_name;  // made printable
  bool checksum_good = false;
};

// `from` has kVhdHeaderBytes. Nothing where it does not begin with the cookie.
std::optional<VhdDynamicHeader> parse_vhd_header(Bytes from);

// Ones' complement of the byte sum of a structure, its own checksum field at `field` left out.
std::uint32_t vhd_checksum(Bytes of, std::size_t field) noexcept;

// The sector bitmap in front of a block, rounded up to whole sectors. "Block Allocation Table and
// Data Blocks".
constexpr std::uint64_t vhd_bitmap_bytes(std::uint32_t block_bytes) noexcept {
  return round_up((std::uint64_t{block_bytes} / kVhdSectorBytes + 7) / 8, kVhdSectorBytes);
}

// "2020-10-11 08:09:30 UTC"
std::string vhd_time_text(std::uint32_t seconds_since_2000);

}  // namespace latchkey::engine
