// The kernel itself, for any vector of 1, 2 or 4 AES blocks. Include it from one file an
// instruction set, after <immintrin.h>; the vector type V gives the operations:
//
//   Reg, kBlocks                    a register and how many 16-byte blocks it holds
//   load, store, zero, exclusive_or
//   round_key(p)                    16 bytes, repeated in every block
//   spread(p)                       the tweak at p, repeated: block j multiplied by x^j
//   numbers(n, stride, mask)        block j is LE128((n + j * stride) & mask)
//   times_x<N>(r)                   every block multiplied by x^N in GF(2^128), N < 64
//   encrypt_round, encrypt_last, decrypt_round, decrypt_last
//
// Shape: the tweaks of 16 sectors are encrypted together, because one at a time costs a whole AES
// latency a sector. Then each sector goes through in passes of kLanes registers, whose rounds run
// interleaved. The tweak of register i is the first one's times x^(i * kBlocks): one shift and one
// fold each, none waiting for the one before it.
#pragma once

#include <utility>

#include "engine/ciphers/kernel_set.h"

namespace latchkey::engine::kernels {

template <class V, bool kDecrypt, int kRounds>
class XtsKernel {
 public:
  static void run(const Schedule& schedule, const Request& request) {
    alignas(64) unsigned char tweaks[kGroup][16];
    std::uint64_t number = request.first_tweak;
    const unsigned char* from = request.from;
    unsigned char* into = request.into;
    for (std::size_t done = 0; done < request.sectors; done += kGroup) {
      encrypt_tweaks(schedule, number, request, tweaks);
      number += kGroup * request.tweak_stride;
      const std::size_t left = request.sectors - done;
      const std::size_t sectors = left < kGroup ? left : kGroup;
      for (std::size_t i = 0; i < sectors; ++i) {
        crypt_sector(schedule, tweaks[i], from, into, request.sector_bytes);
        from += request.sector_bytes;
        into += request.sector_bytes;
      }
    }
    wipe(tweaks);
  }

 private:
  using Reg = typename V::Reg;
  static constexpr std::size_t kGroup = 16;
  static constexpr int kLanes = 8;
  static constexpr std::size_t kRegBytes = V::kBlocks * 16;
  static constexpr std::size_t kPassBytes = kLanes * kRegBytes;
  using Lanes = std::make_integer_sequence<int, kLanes>;

  // Sectors beyond the request's last one get a tweak too; nobody uses it.
  static void encrypt_tweaks(const Schedule& schedule, std::uint64_t number, const Request& request,
                             unsigned char (*tweaks)[16]) {
    constexpr std::size_t kRegs = kGroup / V::kBlocks;
    Reg block[kRegs];
    const Reg first = V::round_key(schedule.tweak.key[0]);
    for (std::size_t i = 0; i < kRegs; ++i) {
      const std::uint64_t n = number + i * V::kBlocks * request.tweak_stride;
      block[i] = V::exclusive_or(V::numbers(n, request.tweak_stride, request.tweak_mask), first);
    }
    for (int round = 1; round < kRounds; ++round) {
      const Reg key = V::round_key(schedule.tweak.key[round]);
      for (std::size_t i = 0; i < kRegs; ++i) block[i] = V::encrypt_round(block[i], key);
    }
    const Reg last = V::round_key(schedule.tweak.key[kRounds]);
    for (std::size_t i = 0; i < kRegs; ++i) {
      V::store(tweaks[i * V::kBlocks], V::encrypt_last(block[i], last));
    }
  }

  static void crypt_sector(const Schedule& schedule, const unsigned char* tweak,
                           const unsigned char* from, unsigned char* into, std::size_t bytes) {
    Reg first = V::spread(tweak);
    std::size_t at = 0;
    for (; bytes - at >= kPassBytes; at += kPassBytes) {
      crypt_pass(schedule, first, from + at, into + at, Lanes());
      first = V::template times_x<kLanes * V::kBlocks>(first);
    }
    for (; bytes - at >= kRegBytes; at += kRegBytes) {
      V::store(into + at, crypt_one(schedule, first, V::load(from + at)));
      first = V::template times_x<V::kBlocks>(first);
    }
    if (at < bytes) {  // fewer blocks than a register holds
      alignas(64) unsigned char rest[kRegBytes] = {};
      copy(rest, from + at, bytes - at);
      V::store(rest, crypt_one(schedule, first, V::load(rest)));
      copy(into + at, rest, bytes - at);
    }
  }

  template <int... kLane>
  [[gnu::always_inline]] static inline void crypt_pass(const Schedule& schedule, Reg first,
                                                       const unsigned char* from,
                                                       unsigned char* into,
                                                       std::integer_sequence<int, kLane...>) {
    const unsigned char(*keys)[16] = (kDecrypt ? schedule.decrypt : schedule.encrypt).key;
    const Reg tweak[kLanes] = {V::template times_x<kLane * V::kBlocks>(first)...};
    Reg key = V::round_key(keys[0]);
    Reg data[kLanes] = {
        V::exclusive_or(V::exclusive_or(V::load(from + kLane * kRegBytes), tweak[kLane]), key)...};
#pragma GCC unroll 14
    for (int round = 1; round < kRounds; ++round) {
      key = V::round_key(keys[round]);
      ((data[kLane] = round_of(data[kLane], key)), ...);
    }
    key = V::round_key(keys[kRounds]);
    (V::store(into + kLane * kRegBytes, V::exclusive_or(last_of(data[kLane], key), tweak[kLane])),
     ...);
  }

  static Reg crypt_one(const Schedule& schedule, Reg tweak, Reg data) {
    const unsigned char(*keys)[16] = (kDecrypt ? schedule.decrypt : schedule.encrypt).key;
    data = V::exclusive_or(V::exclusive_or(data, tweak), V::round_key(keys[0]));
    for (int round = 1; round < kRounds; ++round) {
      data = round_of(data, V::round_key(keys[round]));
    }
    return V::exclusive_or(last_of(data, V::round_key(keys[kRounds])), tweak);
  }

  [[gnu::always_inline]] static inline Reg round_of(Reg data, Reg key) {
    return kDecrypt ? V::decrypt_round(data, key) : V::encrypt_round(data, key);
  }
  [[gnu::always_inline]] static inline Reg last_of(Reg data, Reg key) {
    return kDecrypt ? V::decrypt_last(data, key) : V::encrypt_last(data, key);
  }

  static void copy(unsigned char* into, const unsigned char* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) into[i] = from[i];
  }

  static void wipe(unsigned char (*tweaks)[16]) {
    for (std::size_t i = 0; i < kGroup / V::kBlocks; ++i) {
      V::store(tweaks[i * V::kBlocks], V::zero());
    }
    __asm__ volatile("" ::"r"(tweaks) : "memory");  // the stores are not dead
  }
};

template <class V, bool kDecrypt>
void xts_crypt(const Schedule& schedule, const Request& request) {
  if (schedule.encrypt.rounds == 10) {
    XtsKernel<V, kDecrypt, 10>::run(schedule, request);
  } else {
    XtsKernel<V, kDecrypt, 14>::run(schedule, request);
  }
}

}  // namespace latchkey::engine::kernels
