// The exit statuses of every command, and how an error reaches the person: one lower-case line on
// stderr, then a "hint:" line where there is something to do about it.
#pragma once

#include <string>

#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::tools {

enum ExitStatus : int {
  kDone = 0,        // also a server stopped by SIGINT or SIGTERM
  kAnswerIsNo = 1,  // it ran, but the answer is no
  kUsage = 2,
  kNoKey = 3,     // no key fits, or one is needed and none was given
  kUnusable = 4,  // damaged or not supported
  kSystem = 5,
};

ExitStatus exit_status_of(engine::ErrorCode code);

// Prints "latchkey: MESSAGE" and the hint; returns the status to exit with.
int fail(const engine::Error& error);

// kDone, or what fail() returns.
int status_of(const engine::Result<void>& done);

// Prints "ready WHAT" for whoever waits for it. An error: nobody can have read it.
engine::Result<void> say_ready(const std::string& what);

// One or more lines on stderr. That nobody can read it any more stops nothing.
void tell(const std::string& text);

// "latchkey: warning: ..." on stderr.
void warn(const std::string& text);
void warn_all(const engine::Notices& notices);

}  // namespace latchkey::tools
