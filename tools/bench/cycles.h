// The processor's cycle counter, by perf_event_open(2): cycles this thread has spent, whatever the
// clock does meanwhile. Many virtual machines have none, and kernel.perf_event_paranoid may forbid
// it: then there is no figure, never a guess from the nominal clock.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/unique_fd.h"

namespace latchkey::tools::bench {

// Counts the thread that made it; used by that thread.
class CycleCounter {
 public:
  CycleCounter();
  // Since it was made; nothing where it cannot be known.
  std::optional<std::uint64_t> read() const;

 private:
  engine::UniqueFd fd_;
};

}  // namespace latchkey::tools::bench
