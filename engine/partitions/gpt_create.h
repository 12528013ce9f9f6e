// A new GUID partition table with one partition (UEFI specification 2.10, section 5.3). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::engine {

// GUIDs in the order of their text.
using GuidBytes = std::array<std::byte, 16>;

// ca7d7ccb-63ed-4c53-861c-1742536059cc, "Linux LUKS" (systemd's Discoverable Partitions).
inline constexpr GuidBytes kGptLuksType = {
    std::byte{0xca}, std::byte{0x7d}, std::byte{0x7c}, std::byte{0xcb},
    std::byte{0x63}, std::byte{0xed}, std::byte{0x4c}, std::byte{0x53},
    std::byte{0x86}, std::byte{0x1c}, std::byte{0x17}, std::byte{0x42},
    std::byte{0x53}, std::byte{0x60}, std::byte{0x59}, std::byte{0xcc}};

struct NewGpt {
  GuidBytes disk_guid{};
  GuidBytes type = kGptLuksType;
  GuidBytes partition_guid{};
  std::string name;  // ASCII, at most 35 characters
};

struct PlacedPartition {
  std::uint64_t offset = 0;  // bytes
  std::uint64_t length = 0;
};

// Where the partition goes: from the first MiB to the last whole one that the second copy leaves.
// kUsage where the disk is too small for that.
Result<PlacedPartition> plan_new_gpt(std::uint64_t disk_bytes);

// Both copies of a table for 512-byte sectors, with one partition as planned. kUsage; kSystem.
Result<PlacedPartition> write_new_gpt(BlockDevice& disk, const NewGpt& gpt);

}  // namespace latchkey::engine
