// Tells readers, who take no lock, whether a writer was at work on their range meanwhile.
//
// Storage does not read a sector in one piece while it is being written, and a ciphertext sector
// that is half old and half new decrypts to noise: in the bytes that were written, and, depending
// on the cipher mode, in their neighbours too. So a reader looks at the clock before and after, and
// reads again where a write began or was under way in between. Two atomic adds a write, a few loads
// a read; no waiting, no allocation. Ranges share counters: a clash costs a second read, no more.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace latchkey::engine {

class WriteClock {
 public:
  // Around every write of the range.
  class Tick {
   public:
    Tick(WriteClock& clock, std::uint64_t offset, std::uint64_t length) noexcept
        : clock_(clock), span_(span_of(offset, length)) {
      for (std::uint64_t i = 0; i < span_.count; ++i) ++clock_.at(span_, i).begun;
    }
    ~Tick() {
      for (std::uint64_t i = 0; i < span_.count; ++i) ++clock_.at(span_, i).ended;
    }
    Tick(const Tick&) = delete;
    Tick& operator=(const Tick&) = delete;

   private:
    struct Span {
      std::uint64_t first;
      std::uint64_t count;
    };
    friend class WriteClock;
    static Span span_of(std::uint64_t offset, std::uint64_t length) noexcept {
      const std::uint64_t first = offset / kUnitBytes;
      const std::uint64_t count = (offset + length - 1) / kUnitBytes - first + 1;
      return {first, count < kCounters ? count : kCounters};
    }
    WriteClock& clock_;
    const Span span_;
  };

  // The time on the range (length > 0), or nothing while a write of it is under way. Equal times
  // mean that no write of the range began between the two looks.
  std::optional<std::uint64_t> time(std::uint64_t offset, std::uint64_t length) const noexcept {
    const Tick::Span span = Tick::span_of(offset, length);
    std::uint64_t ended = 0;
    for (std::uint64_t i = 0; i < span.count; ++i) ended += at(span, i).ended;
    std::uint64_t begun = 0;
    for (std::uint64_t i = 0; i < span.count; ++i) begun += at(span, i).begun;
    // Counters only grow, and `ended` was read first: the sums are equal only if each pair was.
    return begun == ended ? std::optional(begun) : std::nullopt;
  }

 private:
  static constexpr std::uint64_t kUnitBytes = std::uint64_t{64} * 1024;
  static constexpr std::uint64_t kCounters = 256;
  struct Counter {
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> ended{0};
  };
  Counter& at(const Tick::Span& span, std::uint64_t i) noexcept {
    return counters_[(span.first + i) % kCounters];
  }
  const Counter& at(const Tick::Span& span, std::uint64_t i) const noexcept {
    return counters_[(span.first + i) % kCounters];
  }

  std::array<Counter, kCounters> counters_;
};

}  // namespace latchkey::engine
