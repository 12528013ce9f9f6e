// A volume group as its metadata text describes it: physical volumes, logical volumes, and which
// runs of extents these are made of. Only linear segments become runs; a volume with any other kind
// keeps the reason why it cannot be read. Nothing here touches a device. Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"

namespace latchkey::engine {

struct LvmPhysicalVolume {
  std::string name;  // "pv0"
  std::string uuid;
  std::uint64_t start = 0;    // bytes: where extent 0 lies
  std::uint64_t extents = 0;  // how many there are
  bool missing = false;       // LVM itself has given it up
};

struct LvmRun {
  std::size_t physical = 0;  // index into LvmGroup::physical
  std::uint64_t first_extent = 0;
  std::uint64_t extents = 0;
};

struct LvmLogicalVolume {
  std::string name;
  std::string uuid;
  std::uint64_t extents = 0;
  bool visible = false;  // else a part of another one
  bool writable = false;
  std::string why_not;           // why its bytes cannot be given; empty where they can
  std::string read_only_reason;  // beside `writable`: what a write would break
  std::vector<LvmRun> runs;      // in order, gapless; the linear segments
};

struct LvmGroup {
  std::string name;
  std::string uuid;
  std::uint64_t sequence = 0;  // grows with every change
  std::uint64_t extent_bytes = 0;
  bool writable = false;
  std::vector<LvmPhysicalVolume> physical;
  std::vector<LvmLogicalVolume> logical;  // in alphabetical order
};

// What LVM allows as a name; nothing else becomes the name of an export or a file.
bool is_lvm_name(std::string_view name) noexcept;

// Errors: kDamaged, kNotSupported.
Result<LvmGroup> parse_lvm_group(std::string_view text);

}  // namespace latchkey::engine
