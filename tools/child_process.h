// The command behind `serve --run`: a shell that is told where the server is, and whose end ends
// it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "engine/result.h"

namespace latchkey::tools {

class ChildProcess {
 public:
  // Runs `/bin/sh -c command` with these variables added to its environment. It inherits standard
  // input, output and error and no other descriptor, and an empty signal mask.
  static engine::Result<ChildProcess> start(
      const std::string& command,
      const std::vector<std::pair<std::string, std::string>>& variables);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  // Becomes readable when the child has ended.
  int pidfd() const noexcept { return pidfd_; }

  // To a child that still runs.
  void send(int signal) const noexcept;

  // Waits for its end. "exit status 3", "signal 9"; empty for success.
  std::string wait();

 private:
  ChildProcess(pid_t pid, int pidfd) noexcept : pid_(pid), pidfd_(pidfd) {}
  pid_t pid_;
  int pidfd_;
};

}  // namespace latchkey::tools
