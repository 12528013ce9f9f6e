// Two blocks a register: AVX2 with VAES and VPCLMULQDQ.
#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/xts_kernel_impl.h"

namespace latchkey::engine::kernels {
namespace {

struct Avx2 {
  using Reg = __m256i;
  static constexpr int kBlocks = 2;

  static Reg load(const unsigned char* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store(unsigned char* p, Reg r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), r);
  }
  static Reg zero() { return _mm256_setzero_si256(); }
  static Reg exclusive_or(Reg a, Reg b) { return _mm256_xor_si256(a, b); }
  static Reg round_key(const unsigned char* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Reg spread(const unsigned char* p) {
    const Reg tweak = round_key(p);
    const Reg up = _mm256_set_epi64x(1, 1, 0, 0);
    const Reg down = _mm256_sub_epi64(_mm256_set1_epi64x(64), up);
    return fold(_mm256_sllv_epi64(tweak, up), _mm256_srlv_epi64(tweak, down));
  }
  static Reg numbers(std::uint64_t n, std::uint64_t stride, std::uint64_t mask) {
    const auto at = [&](std::uint64_t i) {
      return static_cast<long long>((n + i * stride) & mask);
    };
    return _mm256_set_epi64x(0, at(1), 0, at(0));
  }
  template <int kPower>
  static Reg times_x(Reg r) {
    if constexpr (kPower == 0) return r;
    return fold(_mm256_slli_epi64(r, kPower), _mm256_srli_epi64(r, 64 - kPower));
  }
  // As in kernels_avx512.cc.
  static Reg fold(Reg shifted, Reg carry) {
    const Reg polynomial = _mm256_set1_epi64x(0x87);
    return _mm256_xor_si256(_mm256_xor_si256(shifted, _mm256_bslli_epi128(carry, 8)),
                            _mm256_clmulepi64_epi128(carry, polynomial, 0x01));
  }

  static Reg encrypt_round(Reg r, Reg key) { return _mm256_aesenc_epi128(r, key); }
  static Reg encrypt_last(Reg r, Reg key) { return _mm256_aesenclast_epi128(r, key); }
  static Reg decrypt_round(Reg r, Reg key) { return _mm256_aesdec_epi128(r, key); }
  static Reg decrypt_last(Reg r, Reg key) { return _mm256_aesdeclast_epi128(r, key); }
};

}  // namespace

const KernelSet kAvx2{
    .name = "avx2",
    .expand_key = expand_key,
    .invert_keys = invert_keys,
    .xts = {xts_crypt<Avx2, false>, xts_crypt<Avx2, true>},
    .cbc = {},
    .elephant = {},
    .aes_rounds = aes_rounds<Avx2>,
};

}  // namespace latchkey::engine::kernels
