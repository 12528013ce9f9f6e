// Words of commands that a person is told to type.
#pragma once

#include <string>

namespace latchkey::tools {

// The text as one word of a POSIX shell command, quoted where it needs to be. Bytes stay as they
// are: print untrusted ones through engine::printable().
std::string shell_quoted(const std::string& text);

}  // namespace latchkey::tools
