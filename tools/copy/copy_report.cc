#include "tools/copy/copy_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/copy/copy_progress.h"
#include "tools/exit_status.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::size_t kMostPlacesSaid = 10;

}  // namespace

void say_copied(const Manifest& manifest, double seconds) {
  const CopyState& copy = manifest.copy;
  const CopyOutcome& outcome = manifest.outcome;
  const double rate = static_cast<double>(copy.bytes) / std::max(seconds, 1e-3);
  fmt::print("{}: {} of {} ({}) in {}, {}/s\n", manifest.out, human_size(copy.bytes), copy.what,
             manifest.description, clock_text(seconds),
             human_size(static_cast<std::uint64_t>(rate)));
  if (!manifest.volume.empty()) fmt::print("volume: {}\n", manifest.volume);
  if (outcome.zero_bytes > 0) {
    fmt::print("zeros: {} were not stored\n", human_size(outcome.zero_bytes));
  }
  if (manifest.resumed && outcome.rewritten_bytes > 0) {
    fmt::print("resumed: {} of what was there differed and were written again\n",
               human_size(outcome.rewritten_bytes));
  }
  if (!outcome.sha256.empty()) fmt::print("sha256: {}\n", outcome.sha256);
  if (manifest.verified) fmt::print("verified: read back, and the same\n");
}

Result<void> say_unread(const Manifest& manifest, const std::string& manifest_path) {
  std::uint64_t bytes = 0;
  std::size_t said = 0;
  for (const ByteRange& range : manifest.outcome.unreadable) {
    bytes += range.length;
    if (++said > kMostPlacesSaid) continue;
    warn(fmt::format("{} {}: {} bytes at byte {} could not be read: they are zeros in the copy",
                     manifest.copy.image, manifest.copy.what, range.length, range.offset));
  }
  if (bytes == 0) return {};
  return Error(ErrorCode::kRefused,
               fmt::format("{} of the source, in {} places, could not be read", human_size(bytes),
                           manifest.outcome.unreadable.size()))
      .with_hint(manifest_path.empty() ? "" : manifest_path + " lists the places");
}

}  // namespace latchkey::tools
