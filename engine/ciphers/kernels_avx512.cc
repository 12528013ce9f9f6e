// Four blocks a register: AVX-512 F and BW with VAES and VPCLMULQDQ.
#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/xts_kernel_impl.h"

namespace latchkey::engine::kernels {
namespace {

struct Avx512 {
  using Reg = __m512i;
  static constexpr int kBlocks = 4;

  static Reg load(const unsigned char* p) { return _mm512_loadu_si512(p); }
  static void store(unsigned char* p, Reg r) { _mm512_storeu_si512(p, r); }
  static Reg zero() { return _mm512_setzero_si512(); }
  static Reg exclusive_or(Reg a, Reg b) { return _mm512_xor_si512(a, b); }
  static Reg round_key(const unsigned char* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Reg spread(const unsigned char* p) {
    const Reg tweak = round_key(p);
    const Reg up = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    const Reg down = _mm512_sub_epi64(_mm512_set1_epi64(64), up);
    return fold(_mm512_sllv_epi64(tweak, up), _mm512_srlv_epi64(tweak, down));
  }
  static Reg numbers(std::uint64_t n, std::uint64_t stride, std::uint64_t mask) {
    const auto at = [&](std::uint64_t i) {
      return static_cast<long long>((n + i * stride) & mask);
    };
    return _mm512_set_epi64(0, at(3), 0, at(2), 0, at(1), 0, at(0));
  }
  template <int kPower>
  static Reg times_x(Reg r) {
    if constexpr (kPower == 0) return r;
    return fold(_mm512_slli_epi64(r, kPower), _mm512_srli_epi64(r, 64 - kPower));
  }
  // What was shifted out of the low half goes into the high one; out of the high half, back into
  // the low one times x^7 + x^2 + x + 1.
  static Reg fold(Reg shifted, Reg carry) {
    const Reg polynomial = _mm512_set1_epi64(0x87);
    return _mm512_ternarylogic_epi64(shifted, _mm512_bslli_epi128(carry, 8),
                                     _mm512_clmulepi64_epi128(carry, polynomial, 0x01), 0x96);
  }

  static Reg encrypt_round(Reg r, Reg key) { return _mm512_aesenc_epi128(r, key); }
  static Reg encrypt_last(Reg r, Reg key) { return _mm512_aesenclast_epi128(r, key); }
  static Reg decrypt_round(Reg r, Reg key) { return _mm512_aesdec_epi128(r, key); }
  static Reg decrypt_last(Reg r, Reg key) { return _mm512_aesdeclast_epi128(r, key); }
};

}  // namespace

const KernelSet kAvx512{
    .name = "avx512",
    .expand_key = expand_key,
    .invert_keys = invert_keys,
    .xts = {xts_crypt<Avx512, false>, xts_crypt<Avx512, true>},
    .cbc = {},
    .elephant = {},
    .aes_rounds = aes_rounds<Avx512>,
};

}  // namespace latchkey::engine::kernels
