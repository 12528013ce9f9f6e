// What makes a device an LVM2 physical volume: the label in one of its first four sectors, the
// physical volume's header behind it, and the metadata areas the header points at, each a ring with
// the volume group's description as text. Everything is bounded and checked against its CRC before
// it is used. Pure but for reads; any thread.
//
// Format: little-endian, as pvck --dump prints it (pvck(8)).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

struct LvmArea {
  std::uint64_t offset = 0;  // bytes from the device's start
  std::uint64_t length = 0;  // bytes
};

struct LvmMember {
  std::string uuid;  // 6-4-4-4-4-4-6 characters, as LVM prints it
  std::uint64_t label_end = 0;
  std::vector<LvmArea> metadata_areas;
  // The text of every area that is sound; empty where no area is kept on this volume, or none is
  // in use: its group is then described on another one.
  std::vector<std::string> texts;
};

// LVM's own: polynomial of CRC-32, another start, nothing at the end.
std::uint32_t lvm_crc(Bytes bytes, std::uint32_t before = 0xf597a6cf) noexcept;

// "abcdef0123...": the same with dashes.
std::string lvm_uuid(std::string_view raw);

// All the text that is read of one image, whatever its labels claim: holes cost an image nothing.
inline constexpr std::uint64_t kMaxLvmTextBytesOfImage = std::uint64_t{64} << 20;

// Errors: kDamaged (no sound label, an area that lies, every area unsound, a text longer than what
// is left of `text_budget`), kSystem. An area that is bad while another one is good becomes a
// warning. `text_budget`: bytes; what is read of it is taken off.
Result<LvmMember> read_lvm_member(BlockDevice& device, std::uint64_t& text_budget,
                                  Notices& notices);

}  // namespace latchkey::engine
