// Where the time goes between an image file and the reader of its plaintext: the same amount read
// from the file alone, through the container, through the cipher, by NBD and through FUSE.
// Read-only throughout.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/result.h"
#include "tools/bench/report.h"
#include "tools/bench/runner.h"
#include "tools/open_image.h"

namespace latchkey::tools::bench {

struct ImageBenchOptions {
  std::uint64_t most_bytes = std::uint64_t{256} << 20;  // of the volume, from its start
  double seconds = 15;                                  // about as long as all of it takes
  unsigned repetitions = 7;
  bool cold = false;  // the image is dropped from the page cache before each repetition
};

// `opened` is read through its default export. Needs a temporary folder for a socket and a mount
// point; both are gone when it returns. Errors: kUsage (there is nothing to read), kSystem,
// kRefused (interrupted).
engine::Result<Report> bench_image(const OpenedImage& opened, const ImageBenchOptions& options,
                                   StatusLine& progress, const std::atomic<bool>& interrupted);

}  // namespace latchkey::tools::bench
