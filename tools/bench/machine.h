// What a benchmark has to say of where it ran.
#pragma once

#include <string>

namespace latchkey::tools::bench {

struct Machine {
  std::string processor;  // "Intel(R) Xeon(R) Processor"; made printable
  unsigned cores = 1;     // as many as may be used
  std::string kernel;     // "Linux 6.1.0-26-amd64"

  static Machine look();
  std::string describe() const;  // "..., 2 cores, Linux 6.1.0"
};

}  // namespace latchkey::tools::bench
