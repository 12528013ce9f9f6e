// Which AES-XTS kernels this processor can run, and which one is used. Thread-safe.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "engine/ciphers/xts_kernel.h"

namespace latchkey::engine::xts {

// What the kernels need; false where the operating system does not save the registers either.
struct CpuFeatures {
  bool aesni = false;  // AES-NI, SSE4.1 and PCLMULQDQ
  bool avx2 = false;
  bool vaes = false;    // VAES and VPCLMULQDQ
  bool avx512 = false;  // F and BW

  static CpuFeatures detect();
};

// Every kernel such a processor can run, fastest first; empty where AES-NI is missing.
std::vector<const Kernel*> usable_kernels(const CpuFeatures& features);

// The variant that LATCHKEY_CIPHER names, read once; empty: the fastest.
std::string_view forced_variant();

// The kernel for new ciphers. Null: OpenSSL is to be used, because `variant` is "openssl" or, where
// `variant` is empty or names no kernel that can run here, because there is none.
const Kernel* choose_kernel(const CpuFeatures& features, std::string_view variant);

}  // namespace latchkey::engine::xts
