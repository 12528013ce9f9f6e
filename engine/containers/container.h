// From a file to the virtual disk inside it: raw, fixed VHD, dynamic VHD. The probe table in
// container.cc is the one line a new format adds.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

struct Container {
  std::string format;  // "raw", "vhd" (fixed), "vhd-dynamic": stable names, used by --json
  // What `info` says besides the size, in reading order: {"creator", "win "}, {"block size", ...}.
  std::vector<std::pair<std::string, std::string>> facts;
  DevicePtr disk;  // the virtual disk as its guest saw it; writable where the file is
  // Why writes are refused though the file would take them: damage that writing could make worse.
  // One lower-case phrase; empty where nothing stands in the way.
  std::string read_only_reason;
};

// `file` is the whole image; `file_name` is how the user calls it: a name that promises a VHD where
// none is found is a warning. Errors: kDamaged, kNotSupported, kSystem. What could be got around is
// a notice: a missing footer (the file is then raw), a bad checksum with a good second copy, a file
// shorter than its headers declare.
Result<Container> open_container(const std::shared_ptr<GrowableDevice>& file, Notices& notices,
                                 std::string_view file_name = {});

}  // namespace latchkey::engine
