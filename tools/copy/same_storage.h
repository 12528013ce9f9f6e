// Do two names lead to the same bytes on some storage? By another name, a link, a second device
// node, a partition and its disk, a loop device and its file.
#pragma once

#include <string>

namespace latchkey::tools {

// False where either of them is not there.
bool same_storage(const std::string& one, const std::string& other);

}  // namespace latchkey::tools
