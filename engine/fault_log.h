// From failing devices to words on stderr, off the request path.
//
// A device calls FaultReporter::report() when an operation fails; the first failure of each kind on
// that device is queued here, later ones cost one atomic load. Whoever runs the process (a command,
// a test) takes the lines out. Process-wide, thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io_status.h"

namespace latchkey::engine {

enum class FaultKind : std::uint8_t { kRead, kShortRead, kWrite, kFlush, kTable, kAllocate };

// One per device; `layer` is how the user knows it: a file's path, "vhd block table".
class FaultReporter {
 public:
  explicit FaultReporter(std::string layer) : layer_(std::move(layer)) {}
  void report(FaultKind kind, std::uint64_t offset, IoStatus status) noexcept;

 private:
  const std::string layer_;
  std::atomic<unsigned> reported_{0};  // a bit a kind
};

// Lines queued since the last call, oldest first: "disk.vhd: read at byte 4096 failed: ...".
std::vector<std::string> take_faults();
// Waits until there is a line to take or the time is over.
std::vector<std::string> wait_for_faults(std::chrono::milliseconds at_most);

}  // namespace latchkey::engine
