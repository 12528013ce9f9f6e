// A thread that takes the fault log's lines (engine/fault_log.h) to where a person finds them:
// stderr, or the system log once the process has left its terminal.
//
// One at a time in a process. Blocks every signal in its thread. What is still queued when it ends
// is printed first.
#pragma once

#include <atomic>
#include <thread>

namespace latchkey::tools {

class FaultPrinter {
 public:
  FaultPrinter();
  ~FaultPrinter();
  FaultPrinter(const FaultPrinter&) = delete;
  FaultPrinter& operator=(const FaultPrinter&) = delete;

  // From now on to syslog(3), facility daemon.
  void use_system_log() noexcept { to_system_log_.store(true); }

 private:
  void run() noexcept;

  std::atomic<bool> to_system_log_{false};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace latchkey::tools
