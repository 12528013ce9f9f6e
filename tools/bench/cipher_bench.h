// Sector ciphers alone, in cache: every wanted variant, OpenSSL sector by sector, and the bare AES
// rounds of the same instruction set, which nothing can beat.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/result.h"
#include "tools/bench/report.h"
#include "tools/bench/runner.h"

namespace latchkey::tools::bench {

inline constexpr unsigned kMaxBenchThreads = 1024;
inline constexpr const char* kAllVariants = "all";

struct CipherBenchOptions {
  std::string cipher;  // "aes-xts-plain64"; empty: a set of usual ones
  std::optional<std::uint32_t> sector_bytes;
  std::optional<unsigned> key_bits;
  unsigned threads = 1;
  std::string variant;  // a name, kAllVariants, or empty: the one volumes would be opened with
  double seconds = 15;  // about as long as all of it takes
  unsigned repetitions = 9;
};

// Errors: kUsage (a variant that cannot run here), kNotSupported (a cipher or key size), kRefused
// (interrupted).
engine::Result<Report> bench_cipher(const CipherBenchOptions& options, StatusLine& progress,
                                    const std::atomic<bool>& interrupted);

}  // namespace latchkey::tools::bench
