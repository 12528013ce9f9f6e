// LUKS1 volumes as a VolumeHeader. See luks1_header.h for the format.
#pragma once

#include <memory>

#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// Null where the header's device does not start with a LUKS1 header.
engine::Result<std::unique_ptr<VolumeHeader>> open_luks1(const VolumeSource& source,
                                                         engine::Notices& notices);

}  // namespace latchkey::keyslots
