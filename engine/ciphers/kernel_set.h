// AES kernels: one set per instruction set. All sets are made from the same templates
// (xts_kernel_impl.h, cbc_kernel_impl.h, elephant_kernel_impl.h, aes_rounds_impl.h), each in a file
// of its own that is compiled for that instruction set and includes nothing else, so that no
// instruction of it can leak into code that runs everywhere.
//
// A kernel works on whole sectors, any alignment, from == into or disjoint; it cannot fail, has no
// table look-up and no branch or address that depends on key or data, and wipes what it keeps in
// memory. Only the caller's CPU check (cpu_features.h) makes calling one safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latchkey::engine::kernels {

// Secret: lives in memory that is wiped.
struct RoundKeys {
  unsigned char key[15][16];
  int rounds;  // 10, 12 or 14: so many and one more keys; 0: there is no key
};

struct Schedule {
  RoundKeys encrypt;
  RoundKeys decrypt;  // for AESDEC: reversed, inner ones through AESIMC
  // XTS: the second key. CBC: what encrypts the tweak to give the IV; none where it is the IV.
  RoundKeys tweak;
  RoundKeys sector;  // Elephant: what makes the sector keys
};

// Sector i of the call has the tweak (first_tweak + i * tweak_stride) & tweak_mask: 16 bytes,
// little-endian.
struct Request {
  const unsigned char* from;
  unsigned char* into;
  std::size_t sectors;
  std::size_t sector_bytes;  // a positive multiple of 16; Elephant: of 64 and at most 4096
  std::uint64_t first_tweak;
  std::uint64_t tweak_stride;
  std::uint64_t tweak_mask;
};
using Crypt = void (*)(const Schedule&, const Request&);

struct Mode {
  Crypt encrypt;
  Crypt decrypt;
};

struct KernelSet {
  const char* name;  // "avx512", "avx2", "aesni": what --cipher-variant takes
  // FIPS 197, 5.2, for keys of 16, 24 and 32 bytes; and the same keys for AESDEC.
  void (*expand_key)(const unsigned char* key, std::size_t key_bytes, RoundKeys& keys);
  void (*invert_keys)(const RoundKeys& encrypt, RoundKeys& decrypt);
  Mode xts;       // IEEE 1619-2018; AES-128 and 256
  Mode cbc;       // NIST SP 800-38A, 6.2
  Mode elephant;  // cbc between the diffuser and its inverse: see sector_cipher.h
  // AES encryption rounds on registers alone, as many as `bytes` bytes take: no kernel can be
  // faster. Independent of each other; nothing is read from memory or written to it.
  void (*aes_rounds)(int rounds, std::size_t bytes);
};

extern const KernelSet kAvx512;  // AVX-512 F, BW and VL, VAES, VPCLMULQDQ
extern const KernelSet kAvx2;    // AVX2, VAES, VPCLMULQDQ
extern const KernelSet kAesni;   // AES-NI, SSE4.1, PCLMULQDQ

// For KernelSet::expand_key and invert_keys: AES-NI, which every set needs.
void expand_key(const unsigned char* key, std::size_t key_bytes, RoundKeys& keys);
void invert_keys(const RoundKeys& encrypt, RoundKeys& decrypt);

}  // namespace latchkey::engine::kernels
