// The operations of vector_operations.h on two blocks a register: AVX2 with VAES and VPCLMULQDQ.
// For files that are compiled for at least these; the unnamed namespace gives each its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include <immintrin.h>

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
  static Reg exclusive_or(Reg a, Reg b, Reg c) { return exclusive_or(exclusive_or(a, b), c); }
  static Reg round_key(const unsigned char* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  template <int kPower>
  static Reg spread(const unsigned char* p) {
    return multiply(round_key(p), _mm256_set_epi64x(0, 2 << kPower, 0, 1 << kPower));
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
    if constexpr (kPower % 8 != 0) return multiply(r, _mm256_set1_epi64x(1LL << kPower));
    constexpr int kBytes = kPower / 8 % 16;
    const Reg over = _mm256_bsrli_epi128(r, 16 - kBytes);
    return exclusive_or(_mm256_bslli_epi128(r, kBytes),
                        _mm256_clmulepi64_epi128(over, _mm256_set1_epi64x(0x87), 0x00));
  }
  // As in kernels_avx512.cc.
  static Reg multiply(Reg r, Reg power) {
    const Reg low = _mm256_clmulepi64_epi128(r, power, 0x00);
    const Reg high = _mm256_clmulepi64_epi128(r, power, 0x01);
    const Reg over = _mm256_clmulepi64_epi128(high, _mm256_set1_epi64x(0x87), 0x01);
    return exclusive_or(low, _mm256_bslli_epi128(high, 8), over);
  }

  static Reg encrypt_round(Reg r, Reg key) { return _mm256_aesenc_epi128(r, key); }
  static Reg encrypt_last(Reg r, Reg key) { return _mm256_aesenclast_epi128(r, key); }
  static Reg decrypt_round(Reg r, Reg key) { return _mm256_aesdec_epi128(r, key); }
  static Reg decrypt_last(Reg r, Reg key) { return _mm256_aesdeclast_epi128(r, key); }

  static Reg topmost_bit() {
    constexpr long long kTop = std::numeric_limits<long long>::min();
    return _mm256_set_epi64x(kTop, 0, kTop, 0);
  }
  static Reg shift_in(Reg before, Reg r) { return _mm256_permute2x128_si256(before, r, 0x21); }
  static Reg gather(const unsigned char* p, std::size_t stride) {
    return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(p + stride),
                               reinterpret_cast<const __m128i*>(p));
  }
  static void scatter(unsigned char* p, std::size_t stride, Reg r) {
    _mm256_storeu2_m128i(reinterpret_cast<__m128i*>(p + stride), reinterpret_cast<__m128i*>(p), r);
  }
  static void take_tile(const unsigned char* p, std::size_t stride, Reg (&blocks)[4]) {
    for (std::size_t i = 0; i < 4; i += 2) {
      const Reg a = load(p + i * 16);
      const Reg b = load(p + stride + i * 16);
      blocks[i] = _mm256_permute2x128_si256(a, b, 0x20);
      blocks[i + 1] = _mm256_permute2x128_si256(a, b, 0x31);
    }
  }
  static void give_tile(unsigned char* p, std::size_t stride, const Reg (&blocks)[4]) {
    for (std::size_t i = 0; i < 4; i += 2) {
      store(p + i * 16, _mm256_permute2x128_si256(blocks[i], blocks[i + 1], 0x20));
      store(p + stride + i * 16, _mm256_permute2x128_si256(blocks[i], blocks[i + 1], 0x31));
    }
  }
  static void clear_registers() {
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  }

  static Reg add_words(Reg a, Reg b) { return _mm256_add_epi32(a, b); }
  static Reg subtract_words(Reg a, Reg b) { return _mm256_sub_epi32(a, b); }
  template <int kLeft>
  static Reg rotate_words(Reg r) {
    if constexpr (kLeft == 0) return r;
#if defined(__AVX512VL__)
    return _mm256_rol_epi32(r, kLeft);
#else
    return _mm256_or_si256(_mm256_slli_epi32(r, kLeft), _mm256_srli_epi32(r, 32 - kLeft));
#endif
  }
  // As in kernels_avx512.cc.
  static void transpose(Reg (&rows)[8]) {
    Reg half[8];
    for (int i = 0; i < 8; i += 4) {
      const Reg a = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
      const Reg b = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
      const Reg c = _mm256_unpacklo_epi32(rows[i + 2], rows[i + 3]);
      const Reg d = _mm256_unpackhi_epi32(rows[i + 2], rows[i + 3]);
      half[i] = _mm256_unpacklo_epi64(a, c);
      half[i + 1] = _mm256_unpackhi_epi64(a, c);
      half[i + 2] = _mm256_unpacklo_epi64(b, d);
      half[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2x128_si256(half[i], half[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2x128_si256(half[i], half[i + 4], 0x31);
    }
  }
};

}  // namespace
}  // namespace latchkey::engine::kernels
