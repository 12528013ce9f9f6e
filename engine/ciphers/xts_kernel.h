// AES-XTS kernels (IEEE 1619-2018): one per instruction set, all made from one template
// (xts_kernel_impl.h), each in a file of its own that is compiled for that instruction set and
// includes nothing else, so that no instruction of it can leak into code that runs everywhere.
//
// A kernel works on whole sectors, any alignment, from == into or disjoint; it cannot fail, has no
// table look-up and no branch or address that depends on key or data. Only the caller's CPU check
// (xts_variants.h) makes calling one safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latchkey::engine::xts {

// Round keys of both AES keys: 11 of 16 bytes for AES-128, 15 for AES-256. Secret: lives in memory
// that is wiped.
struct Schedule {
  unsigned char encrypt[15][16];
  unsigned char decrypt[15][16];  // for AESDEC: reversed, inner ones through AESIMC
  unsigned char tweak[15][16];
  int rounds;  // 10 or 14
};

// Sector i of the call has the tweak LE128(first_tweak + i * tweak_stride, modulo the mask).
struct Request {
  const unsigned char* from;
  unsigned char* into;
  std::size_t sectors;
  std::size_t sector_bytes;  // a positive multiple of 16
  std::uint64_t first_tweak;
  std::uint64_t tweak_stride;
  std::uint64_t tweak_mask;  // all ones; 2^32 - 1 for "plain"
};

// `key` is the data key followed by the tweak key: 32 or 64 bytes. Needs AES-NI.
void expand_key(const unsigned char* key, std::size_t key_bytes, Schedule& schedule);

using Crypt = void (*)(const Schedule&, const Request&);
struct Kernel {
  const char* name;  // "avx512", "avx2", "aesni": what --cipher-variant takes
  Crypt encrypt;
  Crypt decrypt;
};

extern const Kernel kAvx512;  // AVX-512 F and BW, VAES, VPCLMULQDQ
extern const Kernel kAvx2;    // AVX2, VAES, VPCLMULQDQ
extern const Kernel kAesni;   // AES-NI, SSE4.1, PCLMULQDQ

}  // namespace latchkey::engine::xts
