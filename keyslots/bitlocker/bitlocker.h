// BitLocker volumes: metadata version 2 (Windows 7 and later) and 1 (Vista).
#pragma once

#include <memory>

#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// Probe for volume_header.cc: null where the data device holds no BitLocker volume.
engine::Result<std::unique_ptr<VolumeHeader>> open_bitlocker(const VolumeSource& source,
                                                             engine::Notices& notices);

}  // namespace latchkey::keyslots
