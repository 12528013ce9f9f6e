#include "tools/exit_status.h"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

namespace latchkey::tools {

ExitStatus exit_status_of(engine::ErrorCode code) {
  switch (code) {
    case engine::ErrorCode::kWrongKey:
    case engine::ErrorCode::kKeyNeeded:
      return kNoKey;
    case engine::ErrorCode::kDamaged:
    case engine::ErrorCode::kNotSupported:
      return kUnusable;
    case engine::ErrorCode::kUsage:
      return kUsage;
    case engine::ErrorCode::kRefused:
      return kAnswerIsNo;
    case engine::ErrorCode::kSystem:
      return kSystem;
  }
  return kSystem;
}

namespace {

// Where the one who made the error had no advice.
std::string usual_hint(const engine::Error& error) {
  if (error.code() == engine::ErrorCode::kUsage) return "latchkey help, or latchkey COMMAND --help";
  if (error.sys_errno() == ENOENT) return "check the name";
  if (error.sys_errno() == EACCES) return "check the permissions, or use sudo";
  return "";
}

}  // namespace

int fail(const engine::Error& error) {
  tell("latchkey: " + error.message() + "\n");
  const std::string hint = error.hint().empty() ? usual_hint(error) : error.hint();
  if (!hint.empty()) tell("hint: " + hint + "\n");
  return exit_status_of(error.code());
}

int status_of(const engine::Result<void>& done) {
  return done ? static_cast<int>(kDone) : fail(done.error());
}

engine::Result<void> say_ready(const std::string& what) {
  errno = 0;
  const bool written = std::fputs(("ready " + what + "\n").c_str(), stdout) >= 0;
  if (written && std::fflush(stdout) == 0) return {};
  return engine::Error::system("cannot write to standard output", errno);
}

void tell(const std::string& text) {
  (void)std::fputs(text.c_str(), stderr);
}

void warn(const std::string& text) {
  tell("latchkey: warning: " + text + "\n");
}

void warn_all(const engine::Notices& notices) {
  for (const engine::Notice& notice : notices.items()) {
    if (notice.severity == engine::Notice::Severity::kNote) continue;
    warn(notice.where + ": " + notice.text);
  }
}

}  // namespace latchkey::tools
