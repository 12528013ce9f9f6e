// Which kernel sets a processor can run. Thread-safe.
#pragma once

#include <vector>

#include "engine/ciphers/kernel_set.h"

namespace latchkey::engine::kernels {

// What the kernels need; false where the operating system does not save the registers either.
struct CpuFeatures {
  bool aesni = false;  // AES-NI, SSE4.1 and PCLMULQDQ
  bool avx2 = false;
  bool vaes = false;    // VAES and VPCLMULQDQ
  bool avx512 = false;  // F, BW and VL

  static CpuFeatures detect();
};

// Every set such a processor can run, fastest first; empty where AES-NI is missing.
std::vector<const KernelSet*> usable_kernels(const CpuFeatures& features);

}  // namespace latchkey::engine::kernels
