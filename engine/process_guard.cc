#include "engine/process_guard.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace latchkey::engine {

void guard_process() noexcept {
  // Both are best effort: a kernel that refuses them leaves the pages' MADV_DONTDUMP in force.
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace latchkey::engine
