// AES-XTS for the vector types of vector_operations.h.
//
// A sector goes through in passes of kLanes registers, whose rounds run interleaved. Each lane has
// a tweak of its own, which from one pass to the next is multiplied by x^(kLanes * kBlocks): none
// waits for another. Nothing here shifts bits: shifts would queue up behind the AES rounds for the
// same unit (Intel's port 0, where AVX-512 has only this one), and the next rounds behind them,
// which costs a fifth. Whole bytes and carry-less products have a unit of their own.
#pragma once

#include <utility>

#include "engine/ciphers/kernel_set.h"
#include "engine/ciphers/sector_tweaks_impl.h"

namespace latchkey::engine::kernels {

template <class V, bool kDecrypt, int kRounds, bool kFetch>
class XtsKernel {
 public:
  static void run(const Schedule& schedule, const Request& request) {
    SectorTweaks<V> tweaks;
    const unsigned char* from = request.from;
    unsigned char* into = request.into;
    for (std::size_t done = 0; done < request.sectors;) {
      const std::size_t sectors = tweaks.make(schedule.tweak, request, done);
      for (std::size_t i = 0; i < sectors; ++i) {
        crypt_sector(schedule, tweaks[i], from, into, request.sector_bytes);
        from += request.sector_bytes;
        into += request.sector_bytes;
      }
      done += sectors;
    }
  }

 private:
  using Reg = typename V::Reg;
  static constexpr int kLanes = 8;
  // So many registers on, the power of x is a multiple of 8, and multiplying by it moves bytes.
  static constexpr int kBases = 8 / V::kBlocks;
  static constexpr std::size_t kRegBytes = V::kBlocks * 16;
  static constexpr std::size_t kPassBytes = kLanes * kRegBytes;
  static constexpr std::size_t kLineBytes = 64;
  // What is not decrypted in place comes out of the page cache, that is from memory, and the
  // processor's own prefetching ends with each page. Asked for so far ahead it is a quarter to a
  // third faster (4.9 to 6.3 GB/s; 1024 to 4096 bytes do the same; cipher_bench, from-memory); what
  // lies in the second-level cache already would lose 7% by it.
  static constexpr std::size_t kAheadBytes = 2048;
  using Lanes = std::make_integer_sequence<int, kLanes>;

  static void crypt_sector(const Schedule& schedule, const unsigned char* first_tweak,
                           const unsigned char* from, unsigned char* into, std::size_t bytes) {
    Reg tweak[kLanes];
    start(first_tweak, tweak, Lanes());
    std::size_t at = 0;
    while (bytes - at >= kPassBytes) {
      if constexpr (kFetch) fetch(from + at + kAheadBytes);
      crypt_pass(schedule, tweak, from + at, into + at, Lanes());
      at += kPassBytes;
      if (at < bytes) advance(tweak, Lanes());
    }
    Reg next = tweak[0];
    for (; bytes - at >= kRegBytes; at += kRegBytes) {
      V::store(into + at, crypt_one(schedule, next, V::load(from + at)));
      next = V::template times_x<V::kBlocks>(next);
    }
    if (at < bytes) {  // fewer blocks than a register holds
      alignas(64) unsigned char rest[kRegBytes] = {};
      __builtin_memcpy(rest, from + at, bytes - at);
      V::store(rest, crypt_one(schedule, next, V::load(rest)));
      __builtin_memcpy(into + at, rest, bytes - at);
    }
  }

  // Behind the end of a request it asks in vain: this never faults.
  [[gnu::always_inline]] static inline void fetch(const unsigned char* from) {
    for (std::size_t at = 0; at < kPassBytes; at += kLineBytes) __builtin_prefetch(from + at);
  }

  template <int... kLane>
  [[gnu::always_inline]] static inline void start(const unsigned char* first, Reg (&tweak)[kLanes],
                                                  std::integer_sequence<int, kLane...>) {
    ((tweak[kLane] = kLane < kBases
                         ? V::template spread<kLane % kBases * V::kBlocks>(first)
                         : V::template times_x<kLane / kBases * 8>(tweak[kLane % kBases])),
     ...);
  }
  template <int... kLane>
  [[gnu::always_inline]] static inline void advance(Reg (&tweak)[kLanes],
                                                    std::integer_sequence<int, kLane...>) {
    ((tweak[kLane] = V::template times_x<kLanes * V::kBlocks>(tweak[kLane])), ...);
  }

  template <int... kLane>
  [[gnu::always_inline]] static inline void crypt_pass(const Schedule& schedule,
                                                       const Reg (&tweak)[kLanes],
                                                       const unsigned char* from,
                                                       unsigned char* into,
                                                       std::integer_sequence<int, kLane...>) {
    const unsigned char(*keys)[16] = (kDecrypt ? schedule.decrypt : schedule.encrypt).key;
    Reg key = V::round_key(keys[0]);
    Reg data[kLanes] = {V::exclusive_or(V::load(from + kLane * kRegBytes), tweak[kLane], key)...};
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
};

template <class V, bool kDecrypt, int kRounds>
void xts_crypt(const Schedule& schedule, const Request& request) {
  // One block at a time is too slow to wait for memory.
  if (V::kBlocks > 1 && request.from != request.into) {
    XtsKernel<V, kDecrypt, kRounds, true>::run(schedule, request);
  } else {
    XtsKernel<V, kDecrypt, kRounds, false>::run(schedule, request);
  }
  V::clear_registers();
}

template <class V, bool kDecrypt>
void xts_crypt(const Schedule& schedule, const Request& request) {
  const bool short_key = schedule.encrypt.rounds == 10;
  (short_key ? xts_crypt<V, kDecrypt, 10> : xts_crypt<V, kDecrypt, 14>)(schedule, request);
}

}  // namespace latchkey::engine::kernels
