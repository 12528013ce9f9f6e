// What a range of plaintext holds, by its magic numbers: enough to tell a person which file system
// to expect and `mount` which driver to use. Reads at most the first 128 KiB and a few blocks more.
#pragma once

#include <cstdint>
#include <string>

#include "engine/block_device.h"

namespace latchkey::engine {

struct ContentSignature {
  // The name mount(8) uses ("ext4", "xfs", "btrfs", "ntfs", "vfat", "exfat", "swap", "iso9660",
  // "squashfs"), or "LVM2_member", "linux_raid_member", "crypto_LUKS", "BitLocker"; empty where
  // nothing is recognised.
  std::string type;
  std::string label;  // made printable
  std::string uuid;
  bool needs_recovery = false;  // not cleanly unmounted: a journal or log waits to be replayed
  bool empty() const noexcept { return type.empty(); }
};

// Unreadable bytes count as not recognised.
ContentSignature identify_content(BlockDevice& device);

}  // namespace latchkey::engine
