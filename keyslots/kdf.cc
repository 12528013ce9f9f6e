#include "keyslots/kdf.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <thread>

#include <argon2.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keyslots/digest.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint32_t kMaxLanes = 0xffffff;  // RFC 9106 section 3.1
constexpr std::size_t kMinArgonSalt = 8;

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Pages of an argon2 arena: out of core dumps, and huge where the kernel can, which spares most of
// the page faults of a gigabyte that is touched once. libargon2 wipes them before giving them back.
int allocate_arena(std::uint8_t** memory, std::size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return ARGON2_MEMORY_ALLOCATION_ERROR;
  (void)madvise(pages, bytes, MADV_DONTDUMP);
  (void)madvise(pages, bytes, MADV_HUGEPAGE);
  *memory = static_cast<std::uint8_t*>(pages);
  return ARGON2_OK;
}

void release_arena(std::uint8_t* memory, std::size_t bytes) {
  if (memory != nullptr) (void)munmap(memory, bytes);
}

unsigned threads_for(std::uint32_t lanes) {
  return std::min(lanes, std::max(1U, std::thread::hardware_concurrency()));
}

Result<void> run_argon2(const KdfSpec& spec, Bytes secret, MutableBytes into) {
  // Two gigabyte arenas at once are how an unlocking gets killed for memory.
  static std::mutex one_arena;
  const std::lock_guard lock(one_arena);
  // libargon2 takes non-const pointers; without ARGON2_FLAG_CLEAR_* it does not write through them.
  argon2_context context{};
  context.out = reinterpret_cast<std::uint8_t*>(into.data());
  context.outlen = static_cast<std::uint32_t>(into.size());
  context.pwd = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(secret.data()));
  context.pwdlen = static_cast<std::uint32_t>(secret.size());
  context.salt = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(spec.salt.data()));
  context.saltlen = static_cast<std::uint32_t>(spec.salt.size());
  context.t_cost = spec.iterations;
  context.m_cost = spec.memory_kib;
  context.lanes = spec.lanes;
  context.threads = threads_for(spec.lanes);
  context.version = ARGON2_VERSION_13;
  context.allocate_cbk = allocate_arena;
  context.free_cbk = release_arena;
  const int result = argon2_ctx(&context, spec.type == "argon2i" ? Argon2_i : Argon2_id);
  if (result == ARGON2_OK) return {};
  if (result == ARGON2_MEMORY_ALLOCATION_ERROR) {
    return Error::system(
               fmt::format("cannot get {} MiB of memory for {}", spec.memory_kib / 1024, spec.type),
               ENOMEM)
        .with_hint("free some memory, or open the image on a machine with more");
  }
  if (result == ARGON2_THREAD_FAIL) return Error::system("cannot start argon2's threads", EAGAIN);
  return Error(ErrorCode::kDamaged,
               fmt::format("{} refuses its costs: {}", spec.type, argon2_error_message(result)));
}

// Seconds for one PBKDF2 iteration of one output block, measured once a hash and process.
double pbkdf2_pace(const Digest& digest) {
  static std::mutex mutex;
  static std::map<std::string, double> paces;
  const std::lock_guard lock(mutex);
  auto [place, is_new] = paces.try_emplace(digest.name(), 0.0);
  if (is_new) {
    constexpr std::uint32_t kProbe = 2000;
    std::array<std::byte, 16> out{};
    double best = 1e9;
    for (int i = 0; i < 2; ++i) {  // the faster of two: noise only ever adds
      best = std::min(best, seconds_of([&] {
                        (void)digest.pbkdf2(engine::as_bytes("probe"), engine::as_bytes("saltsalt"),
                                            kProbe, out);
                      }));
    }
    place->second = best / kProbe;
  }
  return place->second;
}

// Seconds for one pass over one KiB by one thread, measured once.
double argon2_pace() {
  static const double pace = [] {
    KdfSpec probe;
    probe.type = "argon2id";
    probe.iterations = 1;
    probe.memory_kib = 8 * 1024;
    probe.lanes = 1;
    probe.salt.resize(16);
    std::array<std::byte, 32> out{};
    return seconds_of([&] { (void)run_argon2(probe, engine::as_bytes("probe"), out); }) /
           probe.memory_kib;
  }();
  return pace;
}

Result<void> check_time(const std::string& what, double estimate, const KdfLimits& limits) {
  if (estimate <= limits.seconds) return {};
  return Error(ErrorCode::kNotSupported,
               fmt::format("{} would take about {:.0f} s on this machine, the limit is {:.0f} s",
                           what, estimate, limits.seconds))
      .with_hint(fmt::format("allow it with --max-kdf-time {:.0f}", std::ceil(estimate * 1.5)));
}

Result<void> check_pbkdf2(const KdfSpec& spec, std::size_t key_bytes, const KdfLimits& limits) {
  Result<Digest> digest = Digest::find(spec.hash);
  if (!digest) return std::move(digest).error();
  if (spec.iterations == 0) return Error(ErrorCode::kDamaged, "pbkdf2 with 0 iterations");
  const std::size_t blocks = (key_bytes + digest->size_bytes() - 1) / digest->size_bytes();
  const double work = static_cast<double>(spec.iterations) * static_cast<double>(blocks);
  constexpr double kNotWorthMeasuring = 20000;
  if (work > kNotWorthMeasuring) {
    return check_time(spec.describe(), work * pbkdf2_pace(*digest), limits);
  }
  return {};
}

Result<SecretBytes> derive_pbkdf2(const KdfSpec& spec, Bytes secret, std::size_t key_bytes) {
  Result<Digest> digest = Digest::find(spec.hash);
  if (!digest) return std::move(digest).error();
  SecretBytes key(key_bytes);
  auto done = digest->pbkdf2(secret, spec.salt, spec.iterations, key.span());
  if (!done) return std::move(done).error();
  return key;
}

Result<void> check_argon2_costs(const KdfSpec& spec) {
  const auto damaged = [&](const std::string& why) {
    return Error(ErrorCode::kDamaged, fmt::format("{} {}", spec.type, why));
  };
  if (spec.iterations == 0) return damaged("with 0 passes");
  if (spec.lanes == 0 || spec.lanes > kMaxLanes) {
    return damaged(fmt::format("with {} lanes", spec.lanes));
  }
  if (spec.memory_kib < 8 * std::uint64_t{spec.lanes}) {
    return damaged(fmt::format("with {} KiB of memory for {} lanes", spec.memory_kib, spec.lanes));
  }
  return {};
}

Result<void> check_argon2(const KdfSpec& spec, const KdfLimits& limits) {
  if (auto sound = check_argon2_costs(spec); !sound) return sound;
  const std::uint64_t memory_bytes = std::uint64_t{spec.memory_kib} * 1024;
  if (memory_bytes > limits.memory_bytes) {
    const std::uint64_t wanted_mib = engine::round_up(memory_bytes, kMiB) / kMiB;
    return Error(ErrorCode::kNotSupported,
                 fmt::format("{} wants {} MiB of memory, the limit is {} MiB", spec.type,
                             wanted_mib, limits.memory_bytes / kMiB))
        .with_hint(fmt::format("allow it with --max-kdf-memory {}M", wanted_mib));
  }
  const double work = static_cast<double>(spec.memory_kib) * static_cast<double>(spec.iterations);
  constexpr double kNotWorthMeasuring = 64 * 1024;  // KiB: some tens of milliseconds
  if (work > kNotWorthMeasuring) {
    const double estimate = work * argon2_pace() / threads_for(spec.lanes);
    return check_time(spec.describe(), estimate, limits);
  }
  return {};
}

Result<SecretBytes> derive_argon2(const KdfSpec& spec, Bytes secret, std::size_t key_bytes) {
  if (spec.salt.size() < kMinArgonSalt) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("{} with a salt of {} bytes", spec.type, spec.salt.size()));
  }
  SecretBytes key(key_bytes);
  auto done = run_argon2(spec, secret, key.span());
  if (!done) return std::move(done).error();
  return key;
}

}  // namespace

KdfLimits KdfLimits::defaults() {
  constexpr std::uint64_t kMost = 4096 * kMiB;
  constexpr double kSeconds = 300;
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return {kMost, kSeconds};
  const std::uint64_t ram =
      static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  return {std::min(kMost, ram / 2), kSeconds};
}

std::string KdfSpec::describe() const {
  if (type == "pbkdf2") {
    return fmt::format("pbkdf2-{}, {} iterations", engine::printable(hash), iterations);
  }
  const std::string memory = memory_kib % 1024 == 0 ? fmt::format("{} MiB", memory_kib / 1024)
                                                    : fmt::format("{} KiB", memory_kib);
  return fmt::format("{}, {}, {} pass{}, {} lane{}", engine::printable(type), memory, iterations,
                     iterations == 1 ? "" : "es", lanes, lanes == 1 ? "" : "s");
}

Result<void> check_kdf_cost(const KdfSpec& spec, std::size_t key_bytes, const KdfLimits& limits) {
  if (key_bytes == 0) return Error(ErrorCode::kDamaged, "a key of 0 bytes is asked for");
  if (spec.type == "pbkdf2") return check_pbkdf2(spec, key_bytes, limits);
  if (spec.type == "argon2i" || spec.type == "argon2id") return check_argon2(spec, limits);
  return Error(ErrorCode::kNotSupported,
               fmt::format("key derivation '{}' is not supported", engine::printable(spec.type)));
}

Result<SecretBytes> derive_key(const KdfSpec& spec, Bytes secret, std::size_t key_bytes,
                               const KdfLimits& limits) {
  if (auto fine = check_kdf_cost(spec, key_bytes, limits); !fine) return std::move(fine).error();
  return spec.type == "pbkdf2" ? derive_pbkdf2(spec, secret, key_bytes)
                               : derive_argon2(spec, secret, key_bytes);
}

}  // namespace latchkey::keyslots
