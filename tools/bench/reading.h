// Reading a range in the ways a benchmark does it: from its start to its end, over and over, and
// 4 KiB at random places, one or many at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/result.h"
#include "tools/bench/measurement.h"

namespace latchkey::tools::bench {

inline constexpr std::size_t kSequentialBytes = std::size_t{1024} * 1024;
inline constexpr std::size_t kRandomBytes = 4096;

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // at least kRandomBytes
};

enum class Pattern { kSequential, kRandom };

// What one repetition reads.
struct Access {
  Pattern pattern = Pattern::kSequential;
  unsigned depth = 1;  // random: requests at a time
  // Sequential: ends with the range instead of beginning again, which would find it in the cache.
  bool once = false;
};

// Reads all of `into`. Called by several threads where the depth is more than 1. Buffers are
// aligned to 4096 bytes.
using ReadAt = std::function<engine::Result<void>(std::uint64_t offset, std::span<std::byte> into)>;

// Units: bytes for kSequential, requests for kRandom. Random depth is that many threads.
engine::Result<Sample> read_range(const ReadAt& read, const Range& range, const Access& access,
                                  const Pace& pace);

// A buffer aligned to 4096 bytes, for direct I/O too.
class PageBuffer {
 public:
  explicit PageBuffer(std::size_t bytes);
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&&) = delete;
  std::span<std::byte> span() const noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

// Where random reads go: 4 KiB pieces of the range, the same places for the same seed.
class RandomPlaces {
 public:
  RandomPlaces(const Range& range, std::uint64_t seed) noexcept
      : offset_(range.offset), pieces_(range.length / kRandomBytes), state_(seed) {}
  std::uint64_t next() noexcept;

 private:
  const std::uint64_t offset_;
  const std::uint64_t pieces_;
  std::uint64_t state_;
};

}  // namespace latchkey::tools::bench
