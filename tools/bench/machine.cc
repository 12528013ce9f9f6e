#include "tools/bench/machine.h"

#include <algorithm>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sys/utsname.h>

#include "engine/bytes.h"

namespace latchkey::tools::bench {
namespace {

// The first line "model name : ..." of /proc/cpuinfo; the architecture where there is none (Arm).
std::string processor_name(const std::string& otherwise) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != line.npos) return engine::printable(line.substr(colon + 2));
  }
  return otherwise;
}

}  // namespace

Machine Machine::look() {
  utsname system{};
  (void)uname(&system);  // fails only for a bad address
  Machine machine;
  machine.processor = processor_name(system.machine);
  machine.cores = std::max(1U, std::thread::hardware_concurrency());
  machine.kernel = engine::printable(fmt::format("{} {}", system.sysname, system.release));
  return machine;
}

std::string Machine::describe() const {
  return fmt::format("{}, {} core{}, {}", processor, cores, cores == 1 ? "" : "s", kernel);
}

}  // namespace latchkey::tools::bench
