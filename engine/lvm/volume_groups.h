// Volume groups out of the physical volumes an image holds: which are there, which are missing, and
// every logical volume as a device, or the reason why it is none.
//
// The devices keep those below them alive and are as writable as these. No device-mapper is
// involved: a group of the same name on this machine is no obstacle. One thread opens; the devices
// are thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"

namespace latchkey::engine {

struct LvmSource {
  std::string name;  // "p4": how messages call it
  DevicePtr device;  // recognised as LVM2_member
};

struct LogicalVolume {
  std::string name;  // "rootlv"
  std::string uuid;
  std::uint64_t size_bytes = 0;
  DevicePtr device;              // null: `why_not` says why
  std::string why_not;           // lower case, no full stop
  std::string read_only_reason;  // why it takes no writes although the image would; else empty
};

struct VolumeGroup {
  // "rootvg"; where two groups of an image share a name, "rootvg@p4". No '/'.
  std::string name;
  std::string uuid;
  std::vector<std::string> on;       // names of the sources it lies on
  std::vector<std::string> missing;  // ids of physical volumes that are not in the image
  std::vector<LogicalVolume> volumes;
};

// What cannot be used is in `notices`; a group whose metadata are damaged does not appear.
std::vector<VolumeGroup> find_volume_groups(const std::vector<LvmSource>& sources,
                                            Notices& notices);

}  // namespace latchkey::engine
