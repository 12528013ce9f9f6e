// Running the programs that do what needs other rights or another driver: fusermount3, ntfs-3g,
// fuse2fs.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"

namespace latchkey::tools {

struct HelperOutcome {
  int exit_status = 0;  // 128 + signal where it was killed
  std::string said;     // the first line it printed, made printable
};

// Found in PATH or the sbin directories? kSystem where it is not; the hint names the package.
engine::Result<void> check_helper(const std::string& program, const std::string& debian_package);

// Runs argv[0], found in PATH or the sbin directories, and waits for it. It gets no descriptor of
// ours, no blocked signal, and an empty standard input. kSystem where it is not installed; the hint
// names `debian_package`.
engine::Result<HelperOutcome> run_helper(const std::vector<std::string>& argv,
                                         const std::string& debian_package);

}  // namespace latchkey::tools
