// Sector ciphers alone: how fast each mode, sector size and variant is on one core in cache, the
// bare AES rounds that no kernel can beat, and XTS on ciphertext that has to come from memory, as
// out of the page cache: lent, or copied first.
//   build/release/bench/cipher_bench --benchmark_min_time=0.5 --benchmark_filter=avx512/aes-xts
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/ciphers/cipher_variants.h"

namespace {

using namespace latchkey::engine;

constexpr std::size_t kCallBytes = 64 * 1024;

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 131 + 7);
  return out;
}

void run(benchmark::State& state, std::string_view variant, const std::string& name,
         std::size_t key_bytes, bool decrypt) {
  auto spec = parse_cipher_spec(name);
  spec->sector_bytes = static_cast<std::uint32_t>(state.range(0));
  spec->tweak_stride = spec->sector_bytes / 512;
  auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(pattern(key_bytes)), variant);
  if (!cipher) {
    state.SkipWithError(cipher.error().message().c_str());
    return;
  }
  auto buffer = pattern(kCallBytes);
  std::uint64_t sector = 0;
  for (auto _ : state) {
    if (decrypt) {
      (*cipher)->decrypt(sector, buffer, buffer);
    } else {
      (*cipher)->encrypt(sector, buffer, buffer);
    }
    sector += kCallBytes / spec->sector_bytes;
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kCallBytes));
}

// Larger than any cache that a core has to itself.
const std::vector<std::byte>& ciphertext_in_memory() {
  static const std::vector<std::byte> bytes = pattern(std::size_t{256} << 20);
  return bytes;
}

void run_from_memory(benchmark::State& state, std::string_view variant, bool copied_first) {
  constexpr std::size_t kPieceBytes = 128 * 1024;  // as a layer of a volume has them
  CipherSpec spec = *parse_cipher_spec("aes-xts-plain64");
  spec.sector_bytes = static_cast<std::uint32_t>(state.range(0));
  const auto cipher = make_sector_cipher(spec, SecretBytes::copy_of(pattern(64)), variant);
  if (!cipher) {
    state.SkipWithError(cipher.error().message().c_str());
    return;
  }
  const Bytes all(ciphertext_in_memory());
  std::vector<std::byte> plain(kPieceBytes);
  std::size_t at = 0;
  for (auto _ : state) {
    const Bytes piece = all.subspan(at, kPieceBytes);
    if (copied_first) {
      std::copy(piece.begin(), piece.end(), plain.begin());
      (*cipher)->decrypt(0, plain, plain);
    } else {
      (*cipher)->decrypt(0, piece, plain);
    }
    at = (at + kPieceBytes) % all.size();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPieceBytes));
}

struct Case {
  const char* cipher;
  std::size_t key_bytes;
};
constexpr Case kCases[] = {
    {"aes-xts-plain64", 64},      {"aes-xts-plain64", 32},  {"aes-cbc-plain64", 32},
    {"aes-cbc-essiv:sha256", 32}, {"aes-cbc-plain", 16},    {"aes-cbc-eboiv", 16},
    {"aes-cbc-eboiv", 32},        {"aes-cbc-elephant", 32}, {"aes-cbc-elephant", 64}};

void run_rounds(benchmark::State& state, std::string_view variant) {
  for (auto _ : state) {
    run_aes_rounds(variant, static_cast<std::size_t>(state.range(0) / 8), kCallBytes);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kCallBytes));
}

void add(std::string_view variant, const Case& c, bool decrypt) {
  const std::string name = std::string(variant) + "/" + c.cipher + "/" +
                           std::to_string(c.key_bytes * 8) + (decrypt ? "/decrypt" : "/encrypt");
  benchmark::RegisterBenchmark(name.c_str(),
                               [variant, c, decrypt](benchmark::State& state) {
                                 run(state, variant, c.cipher, c.key_bytes, decrypt);
                               })
      ->ArgName("sector")
      ->Arg(512)
      ->Arg(4096);
}

const int registered = [] {
  for (const std::string_view variant : usable_cipher_variants()) {
    if (variant != kOpensslVariant) {
      benchmark::RegisterBenchmark(
          (std::string(variant) + "/rounds-alone").c_str(),
          [variant](benchmark::State& state) { run_rounds(state, variant); })
          ->ArgName("key")
          ->Arg(128)
          ->Arg(256);
    }
    for (const bool copied_first : {false, true}) {
      const std::string name =
          std::string(variant) + "/from-memory/" + (copied_first ? "copied-first" : "lent");
      benchmark::RegisterBenchmark(name.c_str(),
                                   [variant, copied_first](benchmark::State& state) {
                                     run_from_memory(state, variant, copied_first);
                                   })
          ->ArgName("sector")
          ->Arg(512)
          ->Arg(4096);
    }
    for (const Case& c : kCases) {
      for (const bool decrypt : {true, false}) add(variant, c, decrypt);
    }
  }
  return 0;
}();

}  // namespace
