// What a range of plaintext holds, by its magic numbers: enough to tell a person which file system
// to expect and `mount` which driver to use. Reads at most the first 128 KiB and a few blocks more;
// every number it follows is bounded. Throws nothing, keeps nothing; any thread.
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
  // Not cleanly unmounted: a journal or log waits to be replayed, or the file system's own dirty
  // mark is set. An xfs whose log is on another device counts as clean.
  bool needs_recovery = false;
  bool empty() const noexcept { return type.empty(); }
  // Something that can be mounted, not swap, a member of an array or an encrypted volume.
  bool is_file_system() const noexcept;
};

// Unreadable bytes count as not recognised.
ContentSignature identify_content(BlockDevice& device);

}  // namespace latchkey::engine
