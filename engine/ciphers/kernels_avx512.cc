// Four blocks a register: AVX-512 F and BW with VAES and VPCLMULQDQ.
#include <limits>

#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/cbc_kernel_impl.h"
#include "engine/ciphers/elephant_kernel_impl.h"
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

  static Reg topmost_bit() {
    constexpr long long kTop = std::numeric_limits<long long>::min();
    return _mm512_set_epi64(kTop, 0, kTop, 0, kTop, 0, kTop, 0);
  }
  static Reg shift_in(Reg before, Reg r) { return _mm512_alignr_epi64(r, before, 6); }
  static Reg gather(const unsigned char* p, std::size_t stride) {
    const auto at = [&](std::size_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * stride));
    };
    Reg r = _mm512_castsi128_si512(at(0));
    r = _mm512_inserti32x4(r, at(1), 1);
    r = _mm512_inserti32x4(r, at(2), 2);
    return _mm512_inserti32x4(r, at(3), 3);
  }
  static void scatter(unsigned char* p, std::size_t stride, Reg r) {
    const auto put = [&](std::size_t i, __m128i block) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i * stride), block);
    };
    put(0, _mm512_castsi512_si128(r));
    put(1, _mm512_extracti32x4_epi32(r, 1));
    put(2, _mm512_extracti32x4_epi32(r, 2));
    put(3, _mm512_extracti32x4_epi32(r, 3));
  }

  static Reg add_words(Reg a, Reg b) { return _mm512_add_epi32(a, b); }
  static Reg subtract_words(Reg a, Reg b) { return _mm512_sub_epi32(a, b); }
  template <int kLeft>
  static Reg rotate_words(Reg r) {
    return _mm512_rol_epi32(r, kLeft);
  }
  // Within the blocks first; then block i of row j goes to block j of row 4 * i.
  static void transpose(Reg (&rows)[16]) {
    Reg half[16];
    for (int i = 0; i < 16; i += 4) {
      const Reg a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
      const Reg b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
      const Reg c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
      const Reg d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
      half[i] = _mm512_unpacklo_epi64(a, c);
      half[i + 1] = _mm512_unpackhi_epi64(a, c);
      half[i + 2] = _mm512_unpacklo_epi64(b, d);
      half[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; ++i) {
      const Reg a = _mm512_shuffle_i32x4(half[i], half[i + 4], 0x88);
      const Reg b = _mm512_shuffle_i32x4(half[i + 8], half[i + 12], 0x88);
      const Reg c = _mm512_shuffle_i32x4(half[i], half[i + 4], 0xdd);
      const Reg d = _mm512_shuffle_i32x4(half[i + 8], half[i + 12], 0xdd);
      rows[i] = _mm512_shuffle_i32x4(a, b, 0x88);
      rows[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
      rows[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
      rows[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
  }
};

}  // namespace

const KernelSet kAvx512{
    .name = "avx512",
    .expand_key = expand_key,
    .invert_keys = invert_keys,
    .xts = {xts_crypt<Avx512, false>, xts_crypt<Avx512, true>},
    .cbc = {cbc_crypt<Avx512, CbcEncryption>, cbc_crypt<Avx512, CbcDecryption>},
    .elephant = {ElephantKernel<Avx512>::encrypt, ElephantKernel<Avx512>::decrypt},
    .aes_rounds = aes_rounds<Avx512>,
};

}  // namespace latchkey::engine::kernels
