#include "tools/fault_printer.h"

#include <chrono>
#include <csignal>
#include <exception>
#include <string>

#include <pthread.h>
#include <syslog.h>

#include "engine/fault_log.h"
#include "tools/exit_status.h"

namespace latchkey::tools {
namespace {

// How long a line may wait, and how long the end of a command may take.
constexpr std::chrono::milliseconds kPatience{100};

}  // namespace

FaultPrinter::FaultPrinter() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the thread
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

FaultPrinter::~FaultPrinter() {
  ending_.store(true);
  thread_.join();
}

void FaultPrinter::run() noexcept {
  bool last_round = false;
  while (!last_round) {
    last_round = ending_.load();
    try {
      for (const std::string& line :
           last_round ? engine::take_faults() : engine::wait_for_faults(kPatience)) {
        if (to_system_log_.load()) {
          syslog(LOG_DAEMON | LOG_ERR, "%s", line.c_str());
        } else {
          warn(line);
        }
      }
    } catch (const std::exception&) {  // no memory for a line: the next round may have it
    }
  }
}

}  // namespace latchkey::tools
