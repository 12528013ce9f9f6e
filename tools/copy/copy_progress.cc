#include "tools/copy/copy_progress.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/exit_status.h"
#include "tools/sizes.h"

namespace latchkey::tools {

namespace {

constexpr std::chrono::milliseconds kTerminalLinesApart{200};
constexpr std::chrono::milliseconds kPlainLinesApart{5000};
constexpr int kBarColumns = 24;
// A rate is no rate before that.
constexpr double kLeastSeconds = 0.2;

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 1e9));
  const std::uint64_t hours = whole / 3600;
  const std::uint64_t minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

CopyProgress::CopyProgress(std::string what, std::uint64_t bytes)
    : what_(std::move(what)), bytes_(bytes), began_(Clock::now()), said_(began_) {}

std::string CopyProgress::line(std::uint64_t done, Clock::time_point now) const {
  const double part = bytes_ == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(bytes_);
  std::string text;
  if (line_.on_terminal()) {
    const auto full = static_cast<std::size_t>(part * kBarColumns);
    text = "[" + std::string(full, '#') + std::string(kBarColumns - full, '.') + "] ";
  }
  text +=
      fmt::format("{:3.0f}%  {} of {} {}", 100 * part, human_size(done), human_size(bytes_), what_);
  const double seconds = std::chrono::duration<double>(now - began_).count();
  if (done == 0 || seconds < kLeastSeconds) return text;
  const double rate = static_cast<double>(done) / seconds;
  return text + fmt::format(", {}/s, {} left", human_size(static_cast<std::uint64_t>(rate)),
                            clock_text(static_cast<double>(bytes_ - done) / rate));
}

void CopyProgress::show(std::uint64_t done) {
  const Clock::time_point now = Clock::now();
  if (now - said_ < (line_.on_terminal() ? kTerminalLinesApart : kPlainLinesApart)) return;
  said_ = now;
  if (line_.on_terminal()) {
    line_.say(line(done, now));
  } else {
    tell(line(done, now) + "\n");
  }
}

}  // namespace latchkey::tools
