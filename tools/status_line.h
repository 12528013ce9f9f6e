// How far a long piece of work is. One thread at a time.
#pragma once

#include <cstddef>
#include <string>

namespace latchkey::tools {

// A line on a terminal's stderr that says how far it is; nothing where stderr is none. It is gone
// when the object is.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  bool on_terminal() const noexcept { return on_terminal_; }
  // "43%  what"
  void show(std::size_t done, std::size_t of, const std::string& what);
  void say(std::string line);

 private:
  const bool on_terminal_;
  bool shown_ = false;
};

}  // namespace latchkey::tools
