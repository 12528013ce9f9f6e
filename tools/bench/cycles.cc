#include "tools/bench/cycles.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace latchkey::tools::bench {

CycleCounter::CycleCounter() {
  perf_event_attr wanted{};
  wanted.size = sizeof wanted;
  wanted.type = PERF_TYPE_HARDWARE;
  wanted.config = PERF_COUNT_HW_CPU_CYCLES;
  wanted.exclude_kernel = 1;  // what an ordinary user may count
  wanted.exclude_hv = 1;
  constexpr int kThisThread = 0;
  constexpr int kAnyCpu = -1;
  constexpr int kNoGroup = -1;
  fd_ = engine::UniqueFd(static_cast<int>(
      syscall(SYS_perf_event_open, &wanted, kThisThread, kAnyCpu, kNoGroup, PERF_FLAG_FD_CLOEXEC)));
}

std::optional<std::uint64_t> CycleCounter::read() const {
  std::uint64_t cycles = 0;
  if (fd_.get() < 0 || ::read(fd_.get(), &cycles, sizeof cycles) != sizeof cycles || cycles == 0) {
    return std::nullopt;
  }
  return cycles;
}

}  // namespace latchkey::tools::bench
