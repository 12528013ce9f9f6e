// The bare rounds of KernelSet::aes_rounds, for the vector types of vector_operations.h.
#pragma once

#include <cstddef>

namespace latchkey::engine::kernels {

// Twelve registers hide the latency of the instruction on every processor so far (at most 4 cycles,
// at most 2 started in each), and leave a key and room to spare where there are only 16.
template <class V>
void aes_rounds(int rounds, std::size_t bytes) {
  constexpr int kLanes = 12;
  using Reg = typename V::Reg;
  Reg data[kLanes];
  for (Reg& lane : data) {
    lane = V::zero();
    __asm__("" : "+x"(lane));  // the compiler shall not know that they are all the same
  }
  Reg key = V::zero();
  __asm__("" : "+x"(key));
  constexpr std::size_t kPassBytes = std::size_t{kLanes} * V::kBlocks * 16;
  for (std::size_t done = 0; done < bytes; done += kPassBytes) {
    for (int round = 0; round < rounds; round += 2) {  // 10, 12 or 14 of them
#pragma GCC unroll 12
      for (Reg& lane : data) lane = V::encrypt_round(lane, key);
#pragma GCC unroll 12
      for (Reg& lane : data) lane = V::encrypt_round(lane, key);
    }
  }
  for (Reg& lane : data) __asm__ volatile("" ::"x"(lane));
}

}  // namespace latchkey::engine::kernels
