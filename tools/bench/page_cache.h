// What of a file the kernel holds in memory: asked for, filled, dropped. Reads the file, never
// writes it. Any thread; works on a descriptor of its own.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "engine/result.h"
#include "engine/unique_fd.h"
#include "tools/bench/reading.h"

namespace latchkey::tools::bench {

class PageCache {
 public:
  static engine::Result<PageCache> of(const std::string& path);

  // Drops all of the file's clean pages; those that wait to be written are written by the kernel
  // first. Advice: some file systems (tmpfs) keep them, so look with resident_part().
  void forget() const;

  // Reads the range, so that it is there as far as it fits. Ends early when interrupted.
  engine::Result<void> fill(const Range& range, const std::atomic<bool>& interrupted) const;

  // Between 0 and 1, from places spread over the range; nothing where the kernel does not say.
  std::optional<double> resident_part(const Range& range) const;

 private:
  explicit PageCache(engine::UniqueFd fd) : fd_(std::move(fd)) {}
  engine::UniqueFd fd_;
};

}  // namespace latchkey::tools::bench
