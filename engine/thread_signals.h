// Which signals a worker thread leaves to others.
#pragma once

#include <csignal>

namespace latchkey::engine {

// All but those that a thread raises by what it does: SIGBUS among them, which reading a mapped
// file that has shrunk raises, and survives (file_mapping.h). Blocked, they end the process.
inline sigset_t signals_from_outside() noexcept {
  sigset_t set;
  sigfillset(&set);
  for (const int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&set, own);
  return set;
}

// Threads started in this scope get no signals from outside: those are for whoever runs the
// process.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    const sigset_t outside = signals_from_outside();
    pthread_sigmask(SIG_SETMASK, &outside, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace latchkey::engine
