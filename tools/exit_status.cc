#include "tools/exit_status.h"

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

int fail(const engine::Error& error) {
  fmt::print(stderr, "latchkey: {}\n", error.message());
  if (!error.hint().empty()) fmt::print(stderr, "hint: {}\n", error.hint());
  return exit_status_of(error.code());
}

void warn(const std::string& text) {
  fmt::print(stderr, "latchkey: warning: {}\n", text);
}

void warn_all(const engine::Notices& notices) {
  for (const engine::Notice& notice : notices.items()) {
    if (notice.severity == engine::Notice::Severity::kNote) continue;
    warn(notice.where + ": " + notice.text);
  }
}

}  // namespace latchkey::tools
