#include "tools/bench/runner.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace latchkey::tools::bench {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr double kShortestEach = 0.001;

Error was_interrupted() {
  return {ErrorCode::kRefused, "interrupted"};
}

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
  return size.ws_col - 1U;
}

}  // namespace

RunPlan RunPlan::within(double seconds, unsigned repetitions, std::size_t measurements,
                        double longest_each) {
  const double turns = static_cast<double>(measurements) * (repetitions + 1.0);
  return {.repetitions = repetitions,
          .seconds_each = std::clamp(seconds / std::max(turns, 1.0), kShortestEach, longest_each)};
}

Progress::Progress() : on_terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

void Progress::show(std::size_t done, std::size_t of, const std::string& what) {
  const double part = static_cast<double>(done) / static_cast<double>(std::max(of, std::size_t{1}));
  say(fmt::format("{:3.0f}%  {}", 100 * part, what));
}

void Progress::say(std::string line) {
  if (!on_terminal_) return;
  // A line that wraps could not be wiped.
  line.resize(std::min(line.size(), terminal_columns()));
  fmt::print(stderr, "\r{}\x1b[K", line);
  std::fflush(stderr);
  shown_ = true;
}

Result<Samples> run_interleaved(const std::vector<Measurement>& measurements, const RunPlan& plan,
                                Progress& progress, const std::atomic<bool>& interrupted) {
  const Pace pace{.seconds = plan.seconds_each, .interrupted = interrupted};
  const std::size_t count = measurements.size();
  const std::size_t turns = count * (plan.repetitions + std::size_t{1});
  Samples samples(count);
  for (std::size_t turn = 0; turn < turns; ++turn) {
    const std::size_t round = turn / count;
    const std::size_t place = turn % count;
    const std::size_t which = round % 2 == 0 ? place : count - 1 - place;
    const Measurement& measurement = measurements[which];
    progress.show(turn, turns, measurement.name);
    auto sample = measurement.run(pace);
    if (interrupted.load()) return was_interrupted();
    if (!sample) return std::move(sample).error().within(measurement.name);
    if (round > 0) samples[which].push_back(*sample);
  }
  return samples;
}

std::vector<double> rates(const std::vector<Sample>& samples, double unit) {
  std::vector<double> out;
  out.reserve(samples.size());
  for (const Sample& sample : samples) out.push_back(sample.rate() / unit);
  return out;
}

}  // namespace latchkey::tools::bench
