#include "tools/bench/reading.h"

#include <algorithm>
#include <chrono>
#include <latch>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace latchkey::tools::bench {

using engine::Error;
using engine::Result;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::align_val_t kPage{4096};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool enough(double seconds, const Pace& pace) {
  return seconds >= pace.seconds || pace.interrupted.load(std::memory_order_relaxed);
}

Result<Sample> read_in_sequence(const ReadAt& read, const Range& range, bool once,
                                const Pace& pace) {
  const PageBuffer buffer(
      static_cast<std::size_t>(std::min<std::uint64_t>(kSequentialBytes, range.length)));
  std::uint64_t bytes = 0;
  std::uint64_t at = 0;
  const auto start = Clock::now();
  double seconds = 0;
  do {
    const auto piece = buffer.span().first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.span().size(), range.length - at)));
    if (auto done = read(range.offset + at, piece); !done) return std::move(done).error();
    bytes += piece.size();
    at += piece.size();
    seconds = seconds_since(start);
    if (at == range.length) {
      if (once) break;
      at = 0;
    }
  } while (!enough(seconds, pace));
  return Sample{.units = bytes, .seconds = seconds};
}

Result<Sample> read_at_random(const ReadAt& read, const Range& range, std::uint64_t seed,
                              const Pace& pace) {
  // Looking at the clock takes 25 ns, a cached read a microsecond.
  constexpr unsigned kReadsBetweenLooks = 4;
  const PageBuffer buffer(kRandomBytes);
  RandomPlaces places(range, seed);
  std::uint64_t reads = 0;
  const auto start = Clock::now();
  double seconds = 0;
  do {
    for (unsigned i = 0; i < kReadsBetweenLooks; ++i, ++reads) {
      if (auto done = read(places.next(), buffer.span()); !done) return std::move(done).error();
    }
    seconds = seconds_since(start);
  } while (!enough(seconds, pace));
  return Sample{.units = reads, .seconds = seconds};
}

// What several threads have done together, or the first error of one.
class Together {
 public:
  void add(Result<Sample> one) {
    const std::lock_guard lock(mutex_);
    if (!one) {
      if (!error_) error_ = std::move(one).error();
      return;
    }
    total_.units += one->units;
    total_.seconds = std::max(total_.seconds, one->seconds);
  }
  void fail(Error error) { add(std::move(error)); }
  Result<Sample> take() {
    if (error_) return std::move(*error_);
    return total_;
  }

 private:
  std::mutex mutex_;
  Sample total_;
  std::optional<Error> error_;
};

Result<Sample> read_at_random_together(const ReadAt& read, const Range& range, unsigned depth,
                                       const Pace& pace) {
  Together together;
  std::latch go(1);
  {
    std::vector<std::jthread> team;
    team.reserve(depth);
    try {
      for (unsigned i = 0; i < depth; ++i) {
        team.emplace_back([&, i] {
          go.wait();
          together.add(read_at_random(read, range, i, pace));
        });
      }
    } catch (const std::system_error& failed) {
      together.fail(
          Error::system(fmt::format("cannot start {} threads", depth), failed.code().value()));
    }
    go.count_down();
  }
  return together.take();
}

}  // namespace

Result<Sample> read_range(const ReadAt& read, const Range& range, const Access& access,
                          const Pace& pace) {
  if (access.pattern == Pattern::kSequential) {
    return read_in_sequence(read, range, access.once, pace);
  }
  if (access.depth == 1) return read_at_random(read, range, 0, pace);
  return read_at_random_together(read, range, access.depth, pace);
}

PageBuffer::PageBuffer(std::size_t bytes)
    : bytes_(static_cast<std::byte*>(::operator new(bytes, kPage)), bytes) {
  std::fill(bytes_.begin(), bytes_.end(), std::byte{0});  // its pages are there
}
PageBuffer::~PageBuffer() {
  if (bytes_.data() != nullptr) ::operator delete(bytes_.data(), kPage);
}
PageBuffer::PageBuffer(PageBuffer&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

// SplitMix64 (S. Vigna): places need to be spread, nothing more.
std::uint64_t RandomPlaces::next() noexcept {
  state_ += 0x9e3779b97f4a7c15;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return offset_ + z % pieces_ * kRandomBytes;
}

}  // namespace latchkey::tools::bench
