#include "engine/fault_log.h"

#include <condition_variable>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "engine/result.h"

namespace latchkey::engine {
namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<std::string> lines;
};

// Never destroyed: devices may report while the process is on its way out.
Queue& queue() {
  static Queue& the_queue = *new Queue;
  return the_queue;
}

const char* what(FaultKind kind) {
  switch (kind) {
    case FaultKind::kRead:
      return "read failed";
    case FaultKind::kShortRead:
      return "the file is shorter than when it was opened";
    case FaultKind::kWrite:
      return "write failed";
    case FaultKind::kFlush:
      return "sync failed; nothing more is written to this image";
    case FaultKind::kTable:
      return "the table entry cannot be true";
    case FaultKind::kAllocate:
      return "no new block could be allocated";
  }
  return "failed";
}

}  // namespace

void FaultReporter::report(FaultKind kind, std::uint64_t offset, IoStatus status) noexcept {
  const unsigned bit = 1U << static_cast<unsigned>(kind);
  if ((reported_.load(std::memory_order_relaxed) & bit) != 0) return;
  if ((reported_.fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  try {
    std::string line = fmt::format("{}: {} at byte {}", layer_, what(kind), offset);
    if (status.sys_errno() != 0) line = Error::system(line, status.sys_errno()).message();
    const std::lock_guard lock(queue().mutex);
    queue().lines.push_back(std::move(line));
    queue().arrived.notify_all();
  } catch (const std::exception&) {
    return;  // out of memory: the status still reaches the client
  }
}

std::vector<std::string> take_faults() {
  const std::lock_guard lock(queue().mutex);
  return std::exchange(queue().lines, {});
}

std::vector<std::string> wait_for_faults(std::chrono::milliseconds at_most) {
  std::unique_lock lock(queue().mutex);
  queue().arrived.wait_for(lock, at_most, [] { return !queue().lines.empty(); });
  return std::exchange(queue().lines, {});
}

}  // namespace latchkey::engine
