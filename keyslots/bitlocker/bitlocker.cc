#include "keyslots/bitlocker/bitlocker.h"

namespace latchkey::keyslots {

engine::Result<std::unique_ptr<VolumeHeader>> open_bitlocker(const VolumeSource& /*source*/,
                                                             engine::Notices& /*notices*/) {
  return std::unique_ptr<VolumeHeader>();
}

}  // namespace latchkey::keyslots
