// The directory a mount goes on, and the mount table's view of it.
#pragma once

#include <optional>
#include <string>

#include "engine/result.h"

namespace latchkey::tools {

// The absolute path of a directory, symbolic links resolved in all but its last component, so that
// it works for a mount whose server is gone (where the directory itself cannot be looked at).
std::string absolute_directory(const std::string& directory);

// What is mounted exactly there (the topmost mount): "ext4", "fuse.latchkey"; nullopt: nothing.
// `directory` as absolute_directory() gives it.
std::optional<std::string> mounted_type(const std::string& directory);

// May something be mounted there? The resolved path, or kUsage / kSystem with what is wrong: it
// does not exist, is no directory, not empty, not ours to use, already a mount point, or a mount
// whose server is gone.
engine::Result<std::string> check_mount_point(const std::string& directory);

}  // namespace latchkey::tools
