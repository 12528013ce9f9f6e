// The tweaks of several sectors, encrypted side by side: one at a time costs a whole AES latency a
// sector. For the vector types of vector_operations.h.
#pragma once

#include "engine/ciphers/kernel_set.h"

namespace latchkey::engine::kernels {

// A whole number of registers. The compiler keeps it.
template <class V, class Array>
[[gnu::always_inline]] inline void wipe(Array& array) {
  auto* at = reinterpret_cast<unsigned char*>(&array);
  for (std::size_t done = 0; done < sizeof(array); done += V::kBlocks * 16) {
    V::store(at + done, V::zero());
    __asm__ volatile("" ::"r"(at) : "memory");
  }
}

template <class V>
class SectorTweaks {
 public:
  static constexpr std::size_t kMost = std::size_t{8} * V::kBlocks;

  SectorTweaks() = default;
  SectorTweaks(const SectorTweaks&) = delete;
  SectorTweaks& operator=(const SectorTweaks&) = delete;
  ~SectorTweaks() { wipe<V>(tweak_); }

  // Of the request's sectors from `done` on, as many as there are or kMost: returns how many. Some
  // after the last sector may get one too; nobody uses it. `extra` is added in every block.
  std::size_t make(const RoundKeys& keys, const Request& request, std::size_t done,
                   typename V::Reg extra = V::zero()) {
    const std::size_t left = request.sectors - done;
    const std::uint64_t number = request.first_tweak + done * request.tweak_stride;
    if (left > std::size_t{4} * V::kBlocks) {
      encrypt<8>(keys, number, request, extra);
    } else if (left > std::size_t{2} * V::kBlocks) {
      encrypt<4>(keys, number, request, extra);
    } else {
      encrypt<2>(keys, number, request, extra);
    }
    return left < kMost ? left : kMost;
  }

  const unsigned char* operator[](std::size_t i) const { return tweak_[i]; }

 private:
  using Reg = typename V::Reg;

  template <int kRegs>
  void encrypt(const RoundKeys& keys, std::uint64_t number, const Request& request, Reg extra) {
    Reg block[kRegs];
    for (Reg& r : block) {
      r = V::exclusive_or(V::numbers(number, request.tweak_stride, request.tweak_mask), extra);
      number += V::kBlocks * request.tweak_stride;
    }
    if (keys.rounds != 0) {
      Reg key = V::round_key(keys.key[0]);
      for (Reg& r : block) r = V::exclusive_or(r, key);
      for (int round = 1; round < keys.rounds; ++round) {
        key = V::round_key(keys.key[round]);
        for (Reg& r : block) r = V::encrypt_round(r, key);
      }
      key = V::round_key(keys.key[keys.rounds]);
      for (Reg& r : block) r = V::encrypt_last(r, key);
    }
    for (std::size_t i = 0; i < kRegs; ++i) V::store(tweak_[i * V::kBlocks], block[i]);
  }

  alignas(64) unsigned char tweak_[kMost][16];
};

}  // namespace latchkey::engine::kernels
