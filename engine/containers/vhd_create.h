// New VHD files: fixed and dynamic ("Virtual Hard Disk Image Format Specification", Microsoft,
// version 1.0, "Hard Disk Footer Format", "Dynamic Disk Header Format").
//
// The creator is written as "win ": QEMU, VirtualBox and libvhdi take the size of such a disk from
// its size field, where they would round an unknown creator's down to whole cylinders. A fixed VHD
// of a whole number of MiB is what Azure takes as it is.
// One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::engine {

enum class VhdKind { kFixed, kDynamic };

struct NewVhd {
  VhdKind kind = VhdKind::kFixed;
  std::uint64_t disk_bytes = 0;       // whole sectors
  std::array<std::byte, 16> uuid{};   // random
  std::uint32_t created_seconds = 0;  // since 2000-01-01 00:00 UTC
};

// kUsage for a size no VHD of that kind has.
Result<void> check_new_vhd(const NewVhd& vhd);

// How long the file of an empty disk is.
std::uint64_t new_vhd_file_bytes(const NewVhd& vhd);

// Makes `file`, which reads as zeros and is no longer than new_vhd_file_bytes(), an empty disk and
// syncs it. open_container() then gives the disk. Errors: kUsage (a size no VHD of that kind has),
// kSystem.
Result<void> create_vhd(GrowableDevice& file, const NewVhd& vhd);

// "CHS calculation" of the specification, for a disk of that many sectors.
struct VhdChs {
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
};
VhdChs vhd_chs_of(std::uint64_t disk_sectors);

}  // namespace latchkey::engine
