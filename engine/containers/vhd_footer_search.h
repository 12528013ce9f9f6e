// Finds the footer of a VHD file and decides which copy to believe.
//
// The footer is the last 512 bytes of the file (511 in very old ones); a dynamic disk has a copy of
// it at offset 0. Real files also have bytes after the footer, padding before it, or lost it to a
// broken download, so the end of the file is searched backwards, a bounded way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/block_device.h"
#include "engine/containers/vhd_format.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

inline constexpr std::uint64_t kVhdSearchBytes = std::uint64_t{64} * 1024;

struct VhdIdentity {
  VhdFooter footer;                        // the copy to believe
  std::optional<std::uint64_t> footer_at;  // where the one at the end is; nothing: it is missing
  std::uint64_t footer_bytes = 0;          // its length
  // Why writing is refused, as in Container::read_only_reason.
  std::string read_only_reason;
};

// Nothing: not a VHD, or a fixed one without its footer, which nothing tells from a raw disk.
// Errors: kDamaged where the file says it is a VHD and neither footer can be used; kNotSupported
// for versions and disk types that are not known; kSystem. Notices: bad or missing copies.
Result<std::optional<VhdIdentity>> find_vhd_footer(BlockDevice& file, Notices& notices);

}  // namespace latchkey::engine
