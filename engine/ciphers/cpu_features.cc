#include "engine/ciphers/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace latchkey::engine::kernels {

#if defined(__x86_64__)

namespace {

// clang 14 does not know "vaes" as a name of __builtin_cpu_supports().
bool has_vector_aes() {
  constexpr unsigned kVaes = 1U << 9;
  constexpr unsigned kVpclmulqdq = 1U << 10;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (ecx & kVaes) != 0 && (ecx & kVpclmulqdq) != 0;
}

}  // namespace

CpuFeatures CpuFeatures::detect() {
  __builtin_cpu_init();
  CpuFeatures features;
  features.aesni = __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1") &&
                   __builtin_cpu_supports("pclmul");
  features.avx2 = __builtin_cpu_supports("avx2");
  features.vaes = has_vector_aes();
  features.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl");
  return features;
}

std::vector<const KernelSet*> usable_kernels(const CpuFeatures& features) {
  std::vector<const KernelSet*> sets;
  if (!features.aesni) return sets;  // the key schedule needs it too
  if (features.vaes && features.avx512) sets.push_back(&kAvx512);
  if (features.vaes && features.avx2) sets.push_back(&kAvx2);
  sets.push_back(&kAesni);
  return sets;
}

#else

CpuFeatures CpuFeatures::detect() {
  return {};
}

std::vector<const KernelSet*> usable_kernels(const CpuFeatures& /*features*/) {
  return {};
}

#endif

}  // namespace latchkey::engine::kernels
