#include "tools/copy/copy_progress.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/exit_status.h"
#include "tools/sizes.h"

namespace latchkey::tools {

namespace {

constexpr std::chrono::milliseconds kTerminalLinesApart{200};
constexpr std::chrono::milliseconds kPlainLinesApart{5000};
constexpr std::size_t kBarColumns = 24;
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

std::string progress_text(const std::string& what, std::uint64_t done, std::uint64_t bytes,
                          double seconds, bool with_bar) {
  done = std::min(done, bytes);
  const double part = bytes == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(bytes);
  std::string text;
  if (with_bar) {
    const auto full = static_cast<std::size_t>(part * kBarColumns);
    text = "[" + std::string(full, '#') + std::string(kBarColumns - full, '.') + "] ";
  }
  text +=
      fmt::format("{:3.0f}%  {} of {} {}", 100 * part, human_size(done), human_size(bytes), what);
  if (done == 0 || seconds < kLeastSeconds) return text;
  const double rate = static_cast<double>(done) / seconds;
  return text + fmt::format(", {}/s, {} left", human_size(static_cast<std::uint64_t>(rate)),
                            clock_text(static_cast<double>(bytes - done) / rate));
}

CopyProgress::CopyProgress(std::string what, std::uint64_t bytes)
    : what_(std::move(what)), bytes_(bytes), began_(Clock::now()), said_(began_) {}

void CopyProgress::show(std::uint64_t done) {
  const Clock::time_point now = Clock::now();
  if (now - said_ < (line_.on_terminal() ? kTerminalLinesApart : kPlainLinesApart)) return;
  said_ = now;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  const std::string text = progress_text(what_, done, bytes_, seconds, line_.on_terminal());
  if (line_.on_terminal()) {
    line_.say(text);
  } else {
    tell(text + "\n");
  }
}

}  // namespace latchkey::tools
