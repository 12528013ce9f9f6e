#include "tools/bench/runner.h"

#include <algorithm>

namespace latchkey::tools::bench {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr double kShortestEach = 0.001;

Error was_interrupted() {
  return {ErrorCode::kRefused, "interrupted"};
}

}  // namespace

RunPlan RunPlan::within(double seconds, unsigned repetitions, std::size_t measurements,
                        double longest_each) {
  const double turns = static_cast<double>(measurements) * (repetitions + 1.0);
  return {.repetitions = repetitions,
          .seconds_each = std::clamp(seconds / std::max(turns, 1.0), kShortestEach, longest_each)};
}

Result<Samples> run_interleaved(const std::vector<Measurement>& measurements, const RunPlan& plan,
                                StatusLine& progress, const std::atomic<bool>& interrupted) {
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
