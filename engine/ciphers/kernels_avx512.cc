// Four blocks a register: AVX-512 F, BW and VL with VAES and VPCLMULQDQ.
#include <limits>

#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/cbc_kernel_impl.h"
#include "engine/ciphers/elephant_kernel_impl.h"
#include "engine/ciphers/vector_avx2.h"
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
  static Reg exclusive_or(Reg a, Reg b, Reg c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static Reg round_key(const unsigned char* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  template <int kPower>
  static Reg spread(const unsigned char* p) {
    return multiply(round_key(p), _mm512_set_epi64(0, 8 << kPower, 0, 4 << kPower, 0, 2 << kPower,
                                                   0, 1 << kPower));
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
    if constexpr (kPower % 8 != 0) return multiply(r, _mm512_set1_epi64(1LL << kPower));
    constexpr int kBytes = kPower / 8 % 16;
    const Reg over = _mm512_bsrli_epi128(r, 16 - kBytes);
    return exclusive_or(_mm512_bslli_epi128(r, kBytes),
                        _mm512_clmulepi64_epi128(over, _mm512_set1_epi64(0x87), 0x00));
  }
  // Each block by the power of x in the low half of its block of `power`, below x^56. The products
  // of both halves; what goes beyond x^127 comes back times x^7 + x^2 + x + 1.
  static Reg multiply(Reg r, Reg power) {
    const Reg low = _mm512_clmulepi64_epi128(r, power, 0x00);
    const Reg high = _mm512_clmulepi64_epi128(r, power, 0x01);
    const Reg over = _mm512_clmulepi64_epi128(high, _mm512_set1_epi64(0x87), 0x01);
    return exclusive_or(low, _mm512_bslli_epi128(high, 8), over);
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
  static void take_tile(const unsigned char* p, std::size_t stride, Reg (&blocks)[4]) {
    for (std::size_t i = 0; i < 4; ++i) blocks[i] = load(p + i * stride);
    transpose_blocks(blocks);
  }
  static void give_tile(unsigned char* p, std::size_t stride, Reg (&blocks)[4]) {
    transpose_blocks(blocks);
    for (std::size_t i = 0; i < 4; ++i) store(p + i * stride, blocks[i]);
  }
  static void transpose_blocks(Reg (&rows)[4]) {
    const Reg a = _mm512_shuffle_i32x4(rows[0], rows[1], 0x88);
    const Reg b = _mm512_shuffle_i32x4(rows[2], rows[3], 0x88);
    const Reg c = _mm512_shuffle_i32x4(rows[0], rows[1], 0xdd);
    const Reg d = _mm512_shuffle_i32x4(rows[2], rows[3], 0xdd);
    rows[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    rows[1] = _mm512_shuffle_i32x4(c, d, 0x88);
    rows[2] = _mm512_shuffle_i32x4(a, b, 0xdd);
    rows[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
  static void clear_registers() {
    __asm__ volatile(
        "vzeroall\n"
        "vpxord %%zmm16, %%zmm16, %%zmm16\n"
        "vpxord %%zmm17, %%zmm17, %%zmm17\n"
        "vpxord %%zmm18, %%zmm18, %%zmm18\n"
        "vpxord %%zmm19, %%zmm19, %%zmm19\n"
        "vpxord %%zmm20, %%zmm20, %%zmm20\n"
        "vpxord %%zmm21, %%zmm21, %%zmm21\n"
        "vpxord %%zmm22, %%zmm22, %%zmm22\n"
        "vpxord %%zmm23, %%zmm23, %%zmm23\n"
        "vpxord %%zmm24, %%zmm24, %%zmm24\n"
        "vpxord %%zmm25, %%zmm25, %%zmm25\n"
        "vpxord %%zmm26, %%zmm26, %%zmm26\n"
        "vpxord %%zmm27, %%zmm27, %%zmm27\n"
        "vpxord %%zmm28, %%zmm28, %%zmm28\n"
        "vpxord %%zmm29, %%zmm29, %%zmm29\n"
        "vpxord %%zmm30, %%zmm30, %%zmm30\n"
        "vpxord %%zmm31, %%zmm31, %%zmm31\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
              "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
              "xmm28", "xmm29", "xmm30", "xmm31");
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
      Reg column[4] = {half[i], half[i + 4], half[i + 8], half[i + 12]};
      transpose_blocks(column);
      for (int j = 0; j < 4; ++j) rows[i + 4 * j] = column[j];
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
    .elephant = {elephant_encrypt<Avx512, Avx2>, elephant_decrypt<Avx512, Avx2>},
    .aes_rounds = aes_rounds<Avx512>,
};

}  // namespace latchkey::engine::kernels
