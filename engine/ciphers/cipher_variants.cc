#include "engine/ciphers/cipher_variants.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "engine/ciphers/cpu_features.h"
#include "engine/ciphers/elephant_cipher.h"
#include "engine/ciphers/kernel_cipher.h"
#include "engine/ciphers/openssl_cipher.h"
#include "engine/ciphers/unsupported_cipher.h"

namespace latchkey::engine {
namespace {

struct Variant {
  std::string_view name;
  const kernels::KernelSet* kernels;  // null: OpenSSL
};

const std::vector<Variant>& usable_variants() {
  static const std::vector<Variant> variants = [] {
    std::vector<Variant> usable;
    for (const kernels::KernelSet* set : kernels::usable_kernels(kernels::CpuFeatures::detect())) {
      usable.push_back({set->name, set});
    }
    usable.push_back({kOpensslVariant, nullptr});
    return usable;
  }();
  return variants;
}

Result<const Variant*> find_variant(std::string_view name) {
  std::string names;
  for (const Variant& variant : usable_variants()) {
    if (variant.name == name) return &variant;
    names += (names.empty() ? "" : ", ") + std::string(variant.name);
  }
  const bool known = name == "avx512" || name == "avx2" || name == "aesni";
  return Error(ErrorCode::kUsage,
               known ? fmt::format("cipher variant '{}' cannot run on this processor", name)
                     : fmt::format("'{}' is not a cipher variant", printable(name)))
      .with_hint("these can run here: " + names);
}

std::atomic<const Variant*>& forced() {
  static std::atomic<const Variant*> variant{nullptr};
  return variant;
}

Result<const Variant*> variant_in_force() {
  if (const Variant* variant = forced().load(); variant != nullptr) return variant;
  static const std::string wanted = [] {
    const char* value = std::getenv("LATCHKEY_CIPHER");
    return std::string(value == nullptr ? "" : value);
  }();
  if (wanted.empty()) return &usable_variants().front();
  auto found = find_variant(wanted);
  if (!found) return std::move(found).error().within("environment variable LATCHKEY_CIPHER");
  return found;
}

Result<void> check_sector_size(const CipherSpec& spec) {
  const bool size_ok = spec.sector_bytes >= 512 && spec.sector_bytes <= 4096 &&
                       (spec.sector_bytes & (spec.sector_bytes - 1)) == 0;
  if (size_ok) return {};
  return unsupported_cipher(spec, std::to_string(spec.sector_bytes) + "-byte sectors");
}

Result<std::unique_ptr<SectorCipher>> make_with_openssl(const CipherSpec& spec,
                                                        const SecretBytes& key) {
  if (spec.mode == "cbc" && spec.iv == "elephant" && spec.iv_hash.empty()) {
    return make_elephant_cipher(spec, key);
  }
  return make_openssl_cipher(spec, key);
}

}  // namespace

std::vector<std::string_view> usable_cipher_variants() {
  std::vector<std::string_view> names;
  for (const Variant& variant : usable_variants()) names.push_back(variant.name);
  return names;
}

Result<void> force_cipher_variant(std::string_view variant) {
  auto found = find_variant(variant);
  if (!found) return std::move(found).error();
  forced().store(*found);
  return {};
}

Result<std::string_view> cipher_variant() {
  auto variant = variant_in_force();
  if (!variant) return std::move(variant).error();
  return (*variant)->name;
}

Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key) {
  if (auto size = check_sector_size(spec); !size) return std::move(size).error();
  auto variant = variant_in_force();
  if (!variant) return std::move(variant).error();
  const kernels::KernelSet* set = (*variant)->kernels;
  if (set != nullptr && kernels::has_kernel(spec, key.size())) {
    return kernels::make_kernel_cipher(spec, key, *set);
  }
  return make_with_openssl(spec, key);
}

Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key,
                                                         std::string_view variant) {
  if (auto size = check_sector_size(spec); !size) return std::move(size).error();
  auto found = find_variant(variant);
  if (!found) return std::move(found).error();
  const kernels::KernelSet* set = (*found)->kernels;
  if (set == nullptr) return make_with_openssl(spec, key);
  if (kernels::has_kernel(spec, key.size())) return kernels::make_kernel_cipher(spec, key, *set);
  return unsupported_cipher(spec, fmt::format("variant '{}' has no kernel for it with a {}-bit key",
                                              set->name, key.size() * 8));
}

bool run_aes_rounds(std::string_view variant, std::size_t key_bytes, std::size_t bytes) {
  for (const Variant& usable : usable_variants()) {
    if (usable.name != variant || usable.kernels == nullptr) continue;
    usable.kernels->aes_rounds(static_cast<int>(key_bytes / 4 + 6), bytes);
    return true;
  }
  return false;
}

}  // namespace latchkey::engine
