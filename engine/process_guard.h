// What a process that will hold keys does first: no core dumps, no ptrace by others of the same
// user. Once, at the start of main(), before threads.
#pragma once

namespace latchkey::engine {

void guard_process() noexcept;

}  // namespace latchkey::engine
