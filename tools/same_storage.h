// Do two names lead to the same bytes on some storage? By another name, a link, a second device
// node, a partition and its disk, a loop device and its file.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"

namespace latchkey::tools {

// What is not there yet is the same where its name is.
bool same_storage(const std::string& one, const std::string& other);

// What a command writes must be apart from what it reads (kRefused), and each of it from the rest
// (kUsage). Empty names, and "-", are nothing.
engine::Result<void> check_apart(const std::vector<std::string>& written,
                                 const std::vector<std::string>& read);

}  // namespace latchkey::tools
