// LUKS2 volumes as a VolumeHeader. See luks2_header.h and luks2_metadata.h for the format,
// luks2_reencrypt.h for volumes caught in the middle of a re-encryption.
#pragma once

#include <memory>

#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// Null where the header's device holds no LUKS2 header.
engine::Result<std::unique_ptr<VolumeHeader>> open_luks2(const VolumeSource& source,
                                                         engine::Notices& notices);

}  // namespace latchkey::keyslots
