// VHD files as virtual disks: fixed ones are a slice of the file, dynamic ones a VhdDynamicMap.
// Differencing disks are refused: without their parents they are wrong data.
#pragma once

#include <memory>
#include <optional>

#include "engine/block_device.h"
#include "engine/containers/container.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

// Nothing: not a VHD. Errors and notices: see open_container() and find_vhd_footer().
Result<std::optional<Container>> open_vhd(const std::shared_ptr<GrowableDevice>& file,
                                          Notices& notices);

}  // namespace latchkey::engine
