// A file system on a plaintext device, by the mkfs of the host. The device is shown to it as a file
// through FUSE for as long as it runs: its own view of the bytes, so nothing that mkfs takes for
// zeros is left as the noise that never-written sectors decrypt to.
#pragma once

#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::tools {

// The kinds there are: "ext4", "xfs", "btrfs", "vfat", ...
std::vector<std::string> file_system_kinds();

// kUsage for another kind; kSystem where mkfs is not installed (the hint names the package), says
// no, or FUSE cannot be used. The device is flushed when this returns.
engine::Result<void> make_file_system(const engine::DevicePtr& device, const std::string& kind,
                                      const std::string& label);

}  // namespace latchkey::tools
