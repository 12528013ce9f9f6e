#include "keyslots/kdf_cost.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include <fmt/format.h>

#include "keyslots/digest.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::uint32_t kMinPasses = 4;
constexpr std::uint32_t kMinMemoryKib = 32 * 1024;
constexpr std::uint32_t kMostMemoryKib = 1024 * 1024;
constexpr std::uint32_t kMostLanes = 4;
constexpr std::uint32_t kFirstMemoryKib = 64 * 1024;
constexpr double kMostIterations = 0x7fffffff;

Result<double> seconds_for(const KdfSpec& spec, std::size_t key_bytes) {
  const KdfLimits limits{KdfLimits::defaults().memory_bytes, 1e9};
  const auto start = std::chrono::steady_clock::now();
  if (auto key = derive_key(spec, engine::as_bytes("measured"), key_bytes, limits); !key) {
    return std::move(key).error();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return std::max(took.count(), 1e-6);
}

std::uint32_t clamp_count(double wanted, std::uint32_t least) {
  return static_cast<std::uint32_t>(
      std::clamp(wanted, static_cast<double>(least), kMostIterations));
}

// From a run long enough to be told from noise.
Result<std::uint32_t> measure_pbkdf2(KdfSpec spec, double seconds, std::size_t key_bytes) {
  constexpr double kLongEnough = 0.05;
  spec.iterations = 10000;
  while (true) {
    auto took = seconds_for(spec, key_bytes);
    if (!took) return std::move(took).error();
    if (*took >= kLongEnough || spec.iterations > kMostIterations / 8) {
      return clamp_count(spec.iterations * (seconds / *took), kMinPbkdf2Iterations);
    }
    spec.iterations *= 4;
  }
}

Result<KdfSpec> choose_pbkdf2(const KdfWish& wish, std::size_t key_bytes) {
  if (auto digest = Digest::find(wish.hash); !digest) return std::move(digest).error();
  KdfSpec spec;
  spec.type = wish.type;
  spec.hash = wish.hash;
  spec.salt.resize(kLuksKdfSaltBytes);
  if (wish.iterations) {
    if (*wish.iterations < kMinPbkdf2Iterations) {
      return Error(ErrorCode::kUsage, fmt::format("{} iterations of pbkdf2 are too few: at least "
                                                  "{} are needed",
                                                  *wish.iterations, kMinPbkdf2Iterations));
    }
    spec.iterations = *wish.iterations;
    return spec;
  }
  auto iterations = measure_pbkdf2(spec, wish.seconds, key_bytes);
  if (!iterations) return std::move(iterations).error();
  spec.iterations = *iterations;
  return spec;
}

// Memory first, up to its limit, since that is what makes guessing dear; passes after that.
Result<void> measure_argon2(KdfSpec& spec, std::uint32_t most_kib, double seconds,
                            std::size_t key_bytes) {
  spec.iterations = kMinPasses;
  spec.memory_kib = std::min(kFirstMemoryKib, most_kib);
  constexpr int kRounds = 3;  // each corrects the one before: large arenas cost more than in ratio
  for (int round = 0; round < kRounds; ++round) {
    auto took = seconds_for(spec, key_bytes);
    if (!took) return std::move(took).error();
    const double ratio = seconds / *took;
    if (ratio > 0.9 && ratio < 1.1) return {};
    const double work = static_cast<double>(spec.iterations) * spec.memory_kib * ratio;
    const std::uint32_t least = std::min(kMinMemoryKib, most_kib);
    spec.memory_kib = std::min(most_kib, clamp_count(work / kMinPasses, least));
    spec.iterations = clamp_count(std::floor(work / spec.memory_kib), kMinPasses);
    const bool is_least = spec.memory_kib == least && spec.iterations == kMinPasses;
    if (is_least && ratio < 1) return {};
  }
  return {};
}

Result<KdfSpec> choose_argon2(const KdfWish& wish, std::size_t key_bytes) {
  KdfSpec spec;
  spec.type = wish.type;
  spec.salt.resize(kLuksKdfSaltBytes);
  spec.lanes = wish.lanes.value_or(std::clamp(std::thread::hardware_concurrency(), 1U, kMostLanes));
  const std::uint64_t half_of_ram_kib = KdfLimits::defaults().memory_bytes / 1024;
  const auto most_kib = wish.memory_kib.value_or(
      static_cast<std::uint32_t>(std::min<std::uint64_t>(kMostMemoryKib, half_of_ram_kib)));
  if (spec.lanes == 0 || spec.lanes > kMostLanes) {
    return Error(ErrorCode::kUsage,
                 fmt::format("{} lanes: 1 to {} are possible", spec.lanes, kMostLanes));
  }
  if (most_kib < 8 * spec.lanes) {
    return Error(ErrorCode::kUsage,
                 fmt::format("{} KiB of memory are too little for {} lanes", most_kib, spec.lanes));
  }
  if (wish.iterations) {
    if (*wish.iterations < kMinPasses) {
      return Error(ErrorCode::kUsage, fmt::format("{} passes of {} are too few: at least {} are "
                                                  "needed",
                                                  *wish.iterations, spec.type, kMinPasses));
    }
    spec.iterations = *wish.iterations;
    spec.memory_kib = most_kib;
    return spec;
  }
  if (auto done = measure_argon2(spec, most_kib, wish.seconds, key_bytes); !done) {
    return std::move(done).error();
  }
  return spec;
}

}  // namespace

Result<KdfSpec> choose_kdf_cost(const KdfWish& wish, std::size_t key_bytes) {
  auto spec = wish.type == "pbkdf2" ? choose_pbkdf2(wish, key_bytes)
              : wish.type == "argon2id" || wish.type == "argon2i"
                  ? choose_argon2(wish, key_bytes)
                  : Result<KdfSpec>(
                        Error(ErrorCode::kNotSupported,
                              "key derivation '" + engine::printable(wish.type) + "' is not known")
                            .with_hint("argon2id, argon2i or pbkdf2"));
  if (spec) spec->salt.clear();
  return spec;
}

Result<KdfSpec> choose_digest_cost(const std::string& hash, double seconds) {
  KdfWish wish;
  wish.type = "pbkdf2";
  wish.hash = hash;
  wish.seconds = seconds;
  if (!(seconds > 0)) wish.iterations = kMinPbkdf2Iterations;
  auto digest = Digest::find(hash);
  if (!digest) return std::move(digest).error();
  return choose_kdf_cost(wish, digest->size_bytes());
}

Result<KdfSpec> with_new_salt(KdfSpec cost) {
  cost.salt.resize(kLuksKdfSaltBytes);
  if (auto done = fill_random(cost.salt); !done) return std::move(done).error();
  return cost;
}

}  // namespace latchkey::keyslots
