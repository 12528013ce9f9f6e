#include "tools/bench/cipher_cases.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <latch>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "tools/bench/cycles.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

using Clock = std::chrono::steady_clock;

struct UsualCipher {
  std::string name;
  std::vector<unsigned> key_bits;
  std::vector<std::uint32_t> sector_bytes;
};

std::vector<UsualCipher> usual_ciphers() {
  return {{"aes-xts-plain64", {256, 512}, {512, 4096}},
          {"aes-cbc-essiv:sha256", {256}, {512}},
          {"aes-cbc-elephant", {256, 512}, {512}}};
}

// For a cipher that was named: what most volumes with it have.
UsualCipher usual_of(const std::string& name, const engine::CipherSpec& spec) {
  const bool two_keys = spec.mode == "xts" || spec.iv == "elephant";
  return {name, {two_keys ? 512U : 256U}, {512, 4096}};
}

// What the calling thread has had of a processor: on a machine with other things to do, the time
// it waited for one says nothing about the cipher.
double processor_seconds() {
  timespec spent{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);  // cannot fail on Linux
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

// Looking at the clock costs some 25 ns: seldom enough that it does not show at 30 GB/s.
constexpr std::uint64_t kCallsBetweenLooks = 8;

Sample run_one(const Work& work, const Pace& pace, engine::MutableBytes buffer) {
  const CycleCounter counter;
  const auto cycles_before = counter.read();
  const auto start = Clock::now();
  std::uint64_t calls = 0;
  double seconds = 0;
  do {
    for (std::uint64_t i = 0; i < kCallsBetweenLooks; ++i) work(buffer, calls++);
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < pace.seconds && !pace.interrupted.load(std::memory_order_relaxed));
  Sample sample{.units = calls * buffer.size(), .seconds = seconds};
  const auto cycles = counter.read();
  if (cycles && cycles_before) sample.cycles = *cycles - *cycles_before;
  return sample;
}

}  // namespace

std::size_t CipherCase::aes_key_bytes() const {
  return spec.mode == "xts" || spec.iv == "elephant" ? key_bytes() / 2 : key_bytes();
}

std::string CipherCase::describe() const {
  return fmt::format("{}, {}-bit key, {}-byte sectors", spec.name(), key_bits, spec.sector_bytes);
}

Result<std::vector<CipherCase>> choose_cases(const CipherBenchOptions& options) {
  std::vector<UsualCipher> ciphers = usual_ciphers();
  if (!options.cipher.empty()) {
    auto spec = engine::parse_cipher_spec(options.cipher);
    if (!spec) return std::move(spec).error();
    ciphers = {usual_of(options.cipher, *spec)};
  }
  if (options.key_bits && (*options.key_bits == 0 || *options.key_bits % 8 != 0)) {
    return Error(ErrorCode::kUsage,
                 fmt::format("--key-size: {} bits are no whole bytes", *options.key_bits))
        .with_hint("it counts bits, like 256 or 512");
  }
  std::vector<CipherCase> cases;
  for (UsualCipher& cipher : ciphers) {
    if (options.key_bits) cipher.key_bits = {*options.key_bits};
    if (options.sector_bytes) cipher.sector_bytes = {*options.sector_bytes};
    auto spec = engine::parse_cipher_spec(cipher.name);
    if (!spec) return std::move(spec).error();
    for (const unsigned key_bits : cipher.key_bits) {
      for (const std::uint32_t sector_bytes : cipher.sector_bytes) {
        spec->sector_bytes = sector_bytes;
        spec->tweak_stride = std::max(1U, sector_bytes / 512);
        cases.push_back({*spec, key_bits});
      }
    }
  }
  return cases;
}

engine::SecretBytes some_key(std::size_t bytes) {
  engine::SecretBytes key(bytes);
  for (std::size_t i = 0; i < bytes; ++i) key.data()[i] = static_cast<std::byte>(i * 131 + 7);
  return key;
}

Result<Sample> run_on_threads(unsigned threads, const Work& work, const Pace& pace) {
  std::vector<std::vector<std::byte>> buffers(threads, std::vector<std::byte>(kCallBytes));
  if (threads == 1) {
    const double before = processor_seconds();
    Sample sample = run_one(work, pace, buffers.front());
    sample.seconds = processor_seconds() - before;
    return sample;
  }
  std::vector<Sample> samples(threads);
  std::latch go(1);
  std::atomic<bool> all_are_here{true};
  int reason = 0;
  {
    std::vector<std::jthread> team;
    team.reserve(threads);
    try {
      for (unsigned i = 0; i < threads; ++i) {
        team.emplace_back([&, i] {
          go.wait();
          if (all_are_here.load()) samples[i] = run_one(work, pace, buffers[i]);
        });
      }
    } catch (const std::system_error& failed) {
      reason = failed.code().value();
      all_are_here.store(false);
    }
    go.count_down();
  }
  if (!all_are_here.load()) {
    return Error::system(fmt::format("cannot start {} threads", threads), reason);
  }
  Sample total{.units = 0, .seconds = 0, .cycles = 0};
  for (const Sample& sample : samples) {
    total.units += sample.units;
    total.seconds = std::max(total.seconds, sample.seconds);
    total.cycles = total.cycles && sample.cycles ? std::optional(*total.cycles + *sample.cycles)
                                                 : std::nullopt;
  }
  return total;
}

}  // namespace latchkey::tools::bench
