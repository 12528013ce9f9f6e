// A command that starts in the foreground and goes on in the background: expose and mount.
//
// The process forks before it reads a secret, because locked memory is not inherited. The child
// does the work, with the terminal still its own, so that it can ask for a passphrase and its
// messages appear. When all is ready it leaves the terminal, and the parent exits with 0; when it
// ends before that, the parent exits as the child did. Signals sent to the waiting parent are
// passed on.
#pragma once

#include <optional>

#include "engine/result.h"

namespace latchkey::tools {

class Handover {
 public:
  // Forks. Call it while the process has one thread. In the parent, waits for the outcome:
  // exit_status() then has a value, and the process should exit with it. (A child that died of a
  // signal makes the parent die of it, too.)
  static engine::Result<Handover> fork_off();

  Handover(Handover&& other) noexcept;
  Handover& operator=(Handover&&) = delete;
  ~Handover();

  // Parent only.
  std::optional<int> exit_status() const noexcept { return exit_status_; }

  // Child only: leaves the session and the terminal (stdin, stdout and stderr become /dev/null, the
  // directory /), then lets the parent go. An error where the parent is not there any more: nobody
  // waits for what was to be presented.
  engine::Result<void> ready();

 private:
  explicit Handover(int report_fd) noexcept : report_fd_(report_fd) {}
  explicit Handover(std::optional<int> exit_status) noexcept : exit_status_(exit_status) {}
  int report_fd_ = -1;
  std::optional<int> exit_status_;
};

}  // namespace latchkey::tools
