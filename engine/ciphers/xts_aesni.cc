// One block a register: AES-NI with SSE4.1 and PCLMULQDQ. The key schedule is here too: every
// processor that can use a kernel has these instructions.
#include <immintrin.h>

#include "engine/ciphers/xts_kernel_impl.h"

namespace latchkey::engine::xts {
namespace {

struct Aesni {
  using Reg = __m128i;
  static constexpr int kBlocks = 1;

  static Reg load(const unsigned char* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static void store(unsigned char* p, Reg r) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), r); }
  static Reg zero() { return _mm_setzero_si128(); }
  static Reg exclusive_or(Reg a, Reg b) { return _mm_xor_si128(a, b); }
  static Reg round_key(const unsigned char* p) { return load(p); }

  static Reg spread(const unsigned char* p) { return load(p); }
  static Reg numbers(std::uint64_t n, std::uint64_t /*stride*/, std::uint64_t mask) {
    return _mm_set_epi64x(0, static_cast<long long>(n & mask));
  }
  template <int kPower>
  static Reg times_x(Reg r) {
    if constexpr (kPower == 0) return r;
    const Reg shifted = _mm_slli_epi64(r, kPower);
    const Reg carry = _mm_srli_epi64(r, 64 - kPower);
    const Reg polynomial = _mm_set1_epi64x(0x87);
    return _mm_xor_si128(_mm_xor_si128(shifted, _mm_slli_si128(carry, 8)),
                         _mm_clmulepi64_si128(carry, polynomial, 0x01));
  }

  static Reg encrypt_round(Reg r, Reg key) { return _mm_aesenc_si128(r, key); }
  static Reg encrypt_last(Reg r, Reg key) { return _mm_aesenclast_si128(r, key); }
  static Reg decrypt_round(Reg r, Reg key) { return _mm_aesdec_si128(r, key); }
  static Reg decrypt_last(Reg r, Reg key) { return _mm_aesdeclast_si128(r, key); }
};

// FIPS 197, 5.2, on four words at a time: each is the exclusive or of all before it and `mixed`.
__m128i next_round_key(__m128i key, __m128i mixed) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, mixed);
}

template <int kRound>
void expand_128(unsigned char (*keys)[16]) {
  constexpr int kConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
  const __m128i before = Aesni::load(keys[kRound]);
  const __m128i mixed =
      _mm_shuffle_epi32(_mm_aeskeygenassist_si128(before, kConstants[kRound]), 0xff);
  Aesni::store(keys[kRound + 1], next_round_key(before, mixed));
  if constexpr (kRound < 9) expand_128<kRound + 1>(keys);
}

template <int kStep>
void expand_256(unsigned char (*keys)[16]) {
  constexpr int kConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40};
  const __m128i low = Aesni::load(keys[2 * kStep]);
  const __m128i high = Aesni::load(keys[2 * kStep + 1]);
  const __m128i next_low = next_round_key(
      low, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(high, kConstants[kStep]), 0xff));
  Aesni::store(keys[2 * kStep + 2], next_low);
  if constexpr (kStep < 6) {
    const __m128i mixed = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(next_low, 0), 0xaa);
    Aesni::store(keys[2 * kStep + 3], next_round_key(high, mixed));
    expand_256<kStep + 1>(keys);
  }
}

void expand_one(const unsigned char* key, std::size_t key_bytes, unsigned char (*keys)[16]) {
  for (std::size_t i = 0; i < key_bytes; i += 16) Aesni::store(keys[i / 16], Aesni::load(key + i));
  if (key_bytes == 16) {
    expand_128<0>(keys);
  } else {
    expand_256<0>(keys);
  }
}

}  // namespace

void expand_key(const unsigned char* key, std::size_t key_bytes, Schedule& schedule) {
  const std::size_t half = key_bytes / 2;
  schedule.rounds = half == 16 ? 10 : 14;
  expand_one(key, half, schedule.encrypt);
  expand_one(key + half, half, schedule.tweak);
  const int rounds = schedule.rounds;
  for (int i = 0; i <= rounds; ++i) {
    const __m128i round_key = Aesni::load(schedule.encrypt[rounds - i]);
    const bool inner = i > 0 && i < rounds;
    Aesni::store(schedule.decrypt[i], inner ? _mm_aesimc_si128(round_key) : round_key);
  }
}

const Kernel kAesni{"aesni", crypt<Aesni, false>, crypt<Aesni, true>};

}  // namespace latchkey::engine::xts
