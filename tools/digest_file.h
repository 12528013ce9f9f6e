// FILE.sha256 beside FILE, as sha256sum(1) writes and checks it.
#pragma once

#include <string>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::tools {

std::string digest_file_of(const std::string& path);
// What stands in it: "HEX  NAME\n".
std::string digest_line(const std::string& hex, const std::string& path);

// A new file; see write_new_file().
engine::Result<void> write_digest_file(const std::string& path, engine::Bytes bytes);

// kDamaged where the digest is another one; nothing where there is no such file.
engine::Result<void> check_digest_file(const std::string& path, engine::Bytes bytes);

}  // namespace latchkey::tools
