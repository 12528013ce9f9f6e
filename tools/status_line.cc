#include "tools/status_line.h"

#include <algorithm>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/exit_status.h"

namespace latchkey::tools {

namespace {

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
  return size.ws_col - 1U;
}

}  // namespace

StatusLine::StatusLine() : on_terminal_(isatty(STDERR_FILENO) == 1) {}

StatusLine::~StatusLine() {
  if (shown_) tell("\r\x1b[K");
}

void StatusLine::show(std::size_t done, std::size_t of, const std::string& what) {
  const double part = static_cast<double>(done) / static_cast<double>(std::max(of, std::size_t{1}));
  say(fmt::format("{:3.0f}%  {}", 100 * part, what));
}

void StatusLine::say(std::string line) {
  if (!on_terminal_) return;
  // A line that wraps could not be wiped.
  line.resize(std::min(line.size(), terminal_columns()));
  tell("\r" + line + "\x1b[K");
  shown_ = true;
}

}  // namespace latchkey::tools
