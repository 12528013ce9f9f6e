// Which files a copy writes, and that none of them is one it reads or anything else of value.
#pragma once

#include "engine/result.h"
#include "tools/copy/copy_run.h"

namespace latchkey::tools {

// Gives the manifest its name (empty: there will be none). Changes no file. Errors: kRefused (the
// same storage is read and would be written; a manifest's name is taken), kUsage (one name for two
// things), kSystem (a folder that cannot be written).
engine::Result<void> settle_names(CopyRequest& request);

}  // namespace latchkey::tools
