// With all indices modulo the number of words and i rising, the paper defines the inverses:
//   A: d[i] += d[i-2] ^ rotl(d[i-5], {9, 0, 13, 0}[i % 4])    5 times over the sector
//   B: d[i] += d[i+2] ^ rotl(d[i+5], {0, 10, 0, 25}[i % 4])   3 times
// and the forward direction undoes that step by step: i falling, subtraction.
//
// Two of the four loops read what they have just written (A's inverse, B forward). Those keep the
// last five words in registers, since a word that goes through memory costs several times the
// arithmetic. The other two only read what the pass before left, so the compiler may take several
// words at once, but for the few at the end that wrap around.
#include "engine/ciphers/elephant_diffuser.h"

#include <bit>
#include <cassert>
#include <cstddef>

namespace latchkey::engine {
namespace {

using Words = std::span<std::uint32_t>;

constexpr int kRoundsA = 5;
constexpr int kRoundsB = 3;

void diffuse_a(Words d) noexcept {
  const std::size_t count = d.size();
  const auto at = [&](std::size_t i) { return d[i % count]; };
  for (int round = 0; round < kRoundsA; ++round) {
    std::size_t i = count;
    while (i > 8) {
      i -= 4;
      d[i + 3] -= d[i + 1] ^ d[i - 2];
      d[i + 2] -= d[i] ^ std::rotl(d[i - 3], 13);
      d[i + 1] -= d[i - 1] ^ d[i - 4];
      d[i] -= d[i - 2] ^ std::rotl(d[i - 5], 9);
    }
    while (i > 0) {
      i -= 4;
      d[i + 3] -= at(i + 1) ^ at(count + i - 2);
      d[i + 2] -= at(i) ^ std::rotl(at(count + i - 3), 13);
      d[i + 1] -= at(count + i - 1) ^ at(count + i - 4);
      d[i] -= at(count + i - 2) ^ std::rotl(at(count + i - 5), 9);
    }
  }
}

void undiffuse_a(Words d) noexcept {
  const std::size_t count = d.size();
  std::uint32_t before1 = d[count - 1];  // d[i - 1] and so on
  std::uint32_t before2 = d[count - 2];
  std::uint32_t before3 = d[count - 3];
  std::uint32_t before4 = d[count - 4];
  std::uint32_t before5 = d[count - 5];
  for (int round = 0; round < kRoundsA; ++round) {
    for (std::size_t i = 0; i < count; i += 4) {
      const std::uint32_t now0 = d[i] + (before2 ^ std::rotl(before5, 9));
      const std::uint32_t now1 = d[i + 1] + (before1 ^ before4);
      const std::uint32_t now2 = d[i + 2] + (now0 ^ std::rotl(before3, 13));
      const std::uint32_t now3 = d[i + 3] + (now1 ^ before2);
      d[i] = now0;
      d[i + 1] = now1;
      d[i + 2] = now2;
      d[i + 3] = now3;
      before5 = before1;
      before4 = now0;
      before3 = now1;
      before2 = now2;
      before1 = now3;
    }
  }
}

void diffuse_b(Words d) noexcept {
  const std::size_t count = d.size();
  std::uint32_t behind1 = d[0];  // d[i + 4] and so on: what lies behind the four at i
  std::uint32_t behind2 = d[1];
  std::uint32_t behind3 = d[2];
  std::uint32_t behind4 = d[3];
  std::uint32_t behind5 = d[4];
  for (int round = 0; round < kRoundsB; ++round) {
    for (std::size_t i = count; i > 0;) {
      i -= 4;
      const std::uint32_t now3 = d[i + 3] - (behind2 ^ std::rotl(behind5, 25));
      const std::uint32_t now2 = d[i + 2] - (behind1 ^ behind4);
      const std::uint32_t now1 = d[i + 1] - (now3 ^ std::rotl(behind3, 10));
      const std::uint32_t now0 = d[i] - (now2 ^ behind2);
      d[i] = now0;
      d[i + 1] = now1;
      d[i + 2] = now2;
      d[i + 3] = now3;
      behind5 = behind1;
      behind4 = now3;
      behind3 = now2;
      behind2 = now1;
      behind1 = now0;
    }
  }
}

void undiffuse_b(Words d) noexcept {
  const std::size_t count = d.size();
  const auto at = [&](std::size_t i) { return d[i % count]; };
  for (int round = 0; round < kRoundsB; ++round) {
    std::size_t i = 0;
    for (; i + 8 < count; i += 4) {
      d[i] += d[i + 2] ^ d[i + 5];
      d[i + 1] += d[i + 3] ^ std::rotl(d[i + 6], 10);
      d[i + 2] += d[i + 4] ^ d[i + 7];
      d[i + 3] += d[i + 5] ^ std::rotl(d[i + 8], 25);
    }
    for (; i < count; i += 4) {
      d[i] += at(i + 2) ^ at(i + 5);
      d[i + 1] += at(i + 3) ^ std::rotl(at(i + 6), 10);
      d[i + 2] += at(i + 4) ^ at(i + 7);
      d[i + 3] += at(i + 5) ^ std::rotl(at(i + 8), 25);
    }
  }
}

}  // namespace

void elephant_diffuse(Words words) noexcept {
  assert(words.size() >= 8 && words.size() % 4 == 0);
  diffuse_a(words);
  diffuse_b(words);
}

void elephant_undiffuse(Words words) noexcept {
  assert(words.size() >= 8 && words.size() % 4 == 0);
  undiffuse_b(words);
  undiffuse_a(words);
}

}  // namespace latchkey::engine
