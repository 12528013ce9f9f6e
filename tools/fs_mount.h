// Mounting the file system inside a file, and unmounting it: by the kernel's driver through a loop
// device, by ntfs-3g, or by fuse2fs. nodev and nosuid always: the image came from somewhere else.
#pragma once

#include <string>

#include "engine/result.h"
#include "tools/mount_plan.h"

namespace latchkey::tools {

// May this process let other users' programs see its FUSE mounts? root always; others where
// /etc/fuse.conf says user_allow_other.
bool may_allow_other();

// `file` is where the plan's source can be opened. Errors: kDamaged (the driver refuses the file
// system), kNotSupported (no driver for it in this kernel), kSystem.
engine::Result<void> mount_file_system(const MountPlan& plan, const std::string& file,
                                       const std::string& directory);

// Not lazily: while somebody uses it, it stays mounted and the error says so (sys_errno EBUSY).
engine::Result<void> unmount_directory(const std::string& directory);

}  // namespace latchkey::tools
