#include "tools/fault_printer.h"

#include <chrono>
#include <exception>
#include <string>

#include <syslog.h>

#include "engine/fault_log.h"
#include "engine/thread_signals.h"
#include "tools/exit_status.h"

namespace latchkey::tools {
namespace {

// How long a line may wait, and how long the end of a command may take.
constexpr std::chrono::milliseconds kPatience{100};

}  // namespace

FaultPrinter::FaultPrinter() {
  const engine::SignalsBlocked for_the_thread;
  thread_ = std::thread([this] { run(); });
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
