// One block a register: AES-NI with SSE4.1 and PCLMULQDQ. The key schedule is here too: every
// processor that can use a kernel has these instructions.
#include <limits>

#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/cbc_kernel_impl.h"
#include "engine/ciphers/elephant_kernel_impl.h"
#include "engine/ciphers/xts_kernel_impl.h"

namespace latchkey::engine::kernels {
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
  static Reg exclusive_or(Reg a, Reg b, Reg c) { return exclusive_or(exclusive_or(a, b), c); }
  static Reg round_key(const unsigned char* p) { return load(p); }

  template <int kPower>
  static Reg spread(const unsigned char* p) {
    return times_x<kPower>(load(p));
  }
  static Reg numbers(std::uint64_t n, std::uint64_t /*stride*/, std::uint64_t mask) {
    return _mm_set_epi64x(0, static_cast<long long>(n & mask));
  }
  template <int kPower>
  static Reg times_x(Reg r) {
    if constexpr (kPower == 0) return r;
    if constexpr (kPower % 8 != 0) return multiply(r, _mm_set1_epi64x(1LL << kPower));
    constexpr int kBytes = kPower / 8 % 16;
    const Reg over = _mm_srli_si128(r, 16 - kBytes);
    return exclusive_or(_mm_slli_si128(r, kBytes),
                        _mm_clmulepi64_si128(over, _mm_set1_epi64x(0x87), 0x00));
  }
  // As in kernels_avx512.cc.
  static Reg multiply(Reg r, Reg power) {
    const Reg low = _mm_clmulepi64_si128(r, power, 0x00);
    const Reg high = _mm_clmulepi64_si128(r, power, 0x01);
    const Reg over = _mm_clmulepi64_si128(high, _mm_set1_epi64x(0x87), 0x01);
    return exclusive_or(low, _mm_slli_si128(high, 8), over);
  }

  static Reg encrypt_round(Reg r, Reg key) { return _mm_aesenc_si128(r, key); }
  static Reg encrypt_last(Reg r, Reg key) { return _mm_aesenclast_si128(r, key); }
  static Reg decrypt_round(Reg r, Reg key) { return _mm_aesdec_si128(r, key); }
  static Reg decrypt_last(Reg r, Reg key) { return _mm_aesdeclast_si128(r, key); }

  static Reg topmost_bit() { return _mm_set_epi64x(std::numeric_limits<long long>::min(), 0); }
  static Reg shift_in(Reg before, Reg /*r*/) { return before; }
  static Reg gather(const unsigned char* p, std::size_t /*stride*/) { return load(p); }
  static void scatter(unsigned char* p, std::size_t /*stride*/, Reg r) { store(p, r); }
  static void clear_registers() {
    __asm__ volatile(
        "pxor %%xmm0, %%xmm0\n"
        "pxor %%xmm1, %%xmm1\n"
        "pxor %%xmm2, %%xmm2\n"
        "pxor %%xmm3, %%xmm3\n"
        "pxor %%xmm4, %%xmm4\n"
        "pxor %%xmm5, %%xmm5\n"
        "pxor %%xmm6, %%xmm6\n"
        "pxor %%xmm7, %%xmm7\n"
        "pxor %%xmm8, %%xmm8\n"
        "pxor %%xmm9, %%xmm9\n"
        "pxor %%xmm10, %%xmm10\n"
        "pxor %%xmm11, %%xmm11\n"
        "pxor %%xmm12, %%xmm12\n"
        "pxor %%xmm13, %%xmm13\n"
        "pxor %%xmm14, %%xmm14\n"
        "pxor %%xmm15, %%xmm15\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  }

  static Reg add_words(Reg a, Reg b) { return _mm_add_epi32(a, b); }
  static Reg subtract_words(Reg a, Reg b) { return _mm_sub_epi32(a, b); }
  template <int kLeft>
  static Reg rotate_words(Reg r) {
    if constexpr (kLeft == 0) return r;
    return _mm_or_si128(_mm_slli_epi32(r, kLeft), _mm_srli_epi32(r, 32 - kLeft));
  }
  static void transpose(Reg (&rows)[4]) {
    const Reg a = _mm_unpacklo_epi32(rows[0], rows[1]);
    const Reg b = _mm_unpackhi_epi32(rows[0], rows[1]);
    const Reg c = _mm_unpacklo_epi32(rows[2], rows[3]);
    const Reg d = _mm_unpackhi_epi32(rows[2], rows[3]);
    rows[0] = _mm_unpacklo_epi64(a, c);
    rows[1] = _mm_unpackhi_epi64(a, c);
    rows[2] = _mm_unpacklo_epi64(b, d);
    rows[3] = _mm_unpackhi_epi64(b, d);
  }
};

}  // namespace

const KernelSet kAesni{
    .name = "aesni",
    .expand_key = expand_key,
    .invert_keys = invert_keys,
    .xts = {xts_crypt<Aesni, false>, xts_crypt<Aesni, true>},
    .cbc = {cbc_crypt<Aesni, CbcEncryption>, cbc_crypt<Aesni, CbcDecryption>},
    .elephant = {elephant_encrypt<Aesni, Aesni>, elephant_decrypt<Aesni, Aesni>},
    .aes_rounds = aes_rounds<Aesni>,
};

}  // namespace latchkey::engine::kernels
