// A file system on a plaintext device, by the mkfs of the host. The device is shown to it as a file
// through FUSE for as long as it runs: its own view of the bytes, so nothing that mkfs takes for
// zeros is left as the noise that never-written sectors decrypt to.
#pragma once

#include <cstdint>
#include <string>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::tools {

// What speaks against it before there is a volume. kUsage: another kind, a label that does not fit
// it; kSystem: mkfs is not installed (the hint names the package). kNotSupported: it cannot be made
// in sectors of that size.
engine::Result<void> check_file_system(const std::string& kind, const std::string& label,
                                       std::uint32_t sector_bytes);

// No write of it is smaller than `sector_bytes`, the volume's. Errors as above, and kSystem where
// mkfs says no or FUSE cannot be used. The device is flushed when this returns.
engine::Result<void> make_file_system(const engine::DevicePtr& device, const std::string& kind,
                                      const std::string& label, std::uint32_t sector_bytes);

}  // namespace latchkey::tools
