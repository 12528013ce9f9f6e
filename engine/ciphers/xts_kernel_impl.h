// AES-XTS for the vector types of vector_operations.h.
//
// A sector goes through in passes of kLanes registers, whose rounds run interleaved. The tweak of
// register i is the first one's times x^(i * kBlocks): one shift and one fold each, none waiting
// for the one before it.
#pragma once

#include <utility>

#include "engine/ciphers/kernel_set.h"
#include "engine/ciphers/sector_tweaks_impl.h"

namespace latchkey::engine::kernels {

template <class V, bool kDecrypt, int kRounds>
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
  static constexpr std::size_t kRegBytes = V::kBlocks * 16;
  static constexpr std::size_t kPassBytes = kLanes * kRegBytes;
  using Lanes = std::make_integer_sequence<int, kLanes>;

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
      __builtin_memcpy(rest, from + at, bytes - at);
      V::store(rest, crypt_one(schedule, first, V::load(rest)));
      __builtin_memcpy(into + at, rest, bytes - at);
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
