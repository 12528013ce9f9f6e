// Round keys by AES-NI, which every kernel set has.
#include <immintrin.h>

#include "engine/ciphers/kernel_set.h"

namespace latchkey::engine::kernels {
namespace {

__m128i load(const unsigned char* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
void store(unsigned char* p, __m128i r) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), r);
}

// FIPS 197, 5.2, on four words at a time: each is the exclusive or of all before it and `mixed`.
__m128i next_round_key(__m128i key, __m128i mixed) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, mixed);
}

template <std::size_t kRound>
void expand_128(unsigned char (*keys)[16]) {
  constexpr int kConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
  const __m128i before = load(keys[kRound]);
  const __m128i mixed =
      _mm_shuffle_epi32(_mm_aeskeygenassist_si128(before, kConstants[kRound]), 0xff);
  store(keys[kRound + 1], next_round_key(before, mixed));
  if constexpr (kRound < 9) expand_128<kRound + 1>(keys);
}

// Six words at a time: four that are the exclusive or of all before them and `mixed`, and two that
// go on from the last of these.
template <std::size_t kStep>
void expand_192(unsigned char* keys) {
  constexpr int kConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80};
  unsigned char* at = keys + kStep * 24;
  const __m128i low = load(at);
  const __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + 16));
  const __m128i mixed = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(high, kConstants[kStep]), 0x55);
  const __m128i next_low = next_round_key(low, mixed);
  store(at + 24, next_low);
  if constexpr (kStep < 7) {
    const __m128i next_high = _mm_xor_si128(_mm_xor_si128(high, _mm_slli_si128(high, 4)),
                                            _mm_shuffle_epi32(next_low, 0xff));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(at + 40), next_high);
    expand_192<kStep + 1>(keys);
  }
}

template <std::size_t kStep>
void expand_256(unsigned char (*keys)[16]) {
  constexpr int kConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40};
  const __m128i low = load(keys[2 * kStep]);
  const __m128i high = load(keys[2 * kStep + 1]);
  const __m128i next_low = next_round_key(
      low, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(high, kConstants[kStep]), 0xff));
  store(keys[2 * kStep + 2], next_low);
  if constexpr (kStep < 6) {
    const __m128i mixed = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(next_low, 0), 0xaa);
    store(keys[2 * kStep + 3], next_round_key(high, mixed));
    expand_256<kStep + 1>(keys);
  }
}

}  // namespace

void expand_key(const unsigned char* key, std::size_t key_bytes, RoundKeys& keys) {
  for (std::size_t i = 0; i < key_bytes; ++i) keys.key[i / 16][i % 16] = key[i];
  keys.rounds = static_cast<int>(key_bytes / 4 + 6);
  if (key_bytes == 16) {
    expand_128<0>(keys.key);
  } else if (key_bytes == 24) {
    expand_192<0>(keys.key[0]);
  } else {
    expand_256<0>(keys.key);
  }
}

void invert_keys(const RoundKeys& encrypt, RoundKeys& decrypt) {
  const int rounds = encrypt.rounds;
  decrypt.rounds = rounds;
  for (int i = 0; i <= rounds; ++i) {
    const __m128i round_key = load(encrypt.key[rounds - i]);
    const bool inner = i > 0 && i < rounds;
    store(decrypt.key[i], inner ? _mm_aesimc_si128(round_key) : round_key);
  }
}

}  // namespace latchkey::engine::kernels
