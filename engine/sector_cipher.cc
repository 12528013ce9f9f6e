#include "engine/sector_cipher.h"

#include <vector>

#include "engine/ciphers/elephant_cipher.h"
#include "engine/ciphers/openssl_cipher.h"
#include "engine/ciphers/unsupported_cipher.h"
#include "engine/ciphers/xts_cipher.h"
#include "engine/ciphers/xts_variants.h"

namespace latchkey::engine {

std::string CipherSpec::name() const {
  std::string out = algorithm + "-" + mode + "-" + iv;
  if (!iv_hash.empty()) out += ":" + iv_hash;
  return out;
}

Result<CipherSpec> parse_cipher_spec(std::string_view name) {
  const auto unknown = [&] {
    return Error(ErrorCode::kNotSupported, "cipher '" + printable(name) + "' is not supported");
  };
  const std::size_t first = name.find('-');
  const std::size_t second = first == name.npos ? name.npos : name.find('-', first + 1);
  if (second == name.npos) return unknown();
  CipherSpec spec;
  spec.algorithm = name.substr(0, first);
  spec.mode = name.substr(first + 1, second - first - 1);
  std::string_view iv = name.substr(second + 1);
  if (const std::size_t colon = iv.find(':'); colon != iv.npos) {
    spec.iv_hash = iv.substr(colon + 1);
    iv = iv.substr(0, colon);
  }
  spec.iv = iv;
  if (spec.algorithm.empty() || spec.mode.empty() || spec.iv.empty()) return unknown();
  return spec;
}

Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key) {
  const bool size_ok = spec.sector_bytes >= 512 && spec.sector_bytes <= 4096 &&
                       (spec.sector_bytes & (spec.sector_bytes - 1)) == 0;
  if (!size_ok) {
    return unsupported_cipher(spec, std::to_string(spec.sector_bytes) + "-byte sectors");
  }
  if (xts::is_kernel_spec(spec, key.size())) {
    const xts::Kernel* kernel =
        xts::choose_kernel(xts::CpuFeatures::detect(), xts::forced_variant());
    if (kernel != nullptr) return xts::make_xts_cipher(spec, key, *kernel);
  }
  if (spec.mode == "cbc" && spec.iv == "elephant" && spec.iv_hash.empty()) {
    return make_elephant_cipher(spec, key);
  }
  return make_openssl_cipher(spec, key);
}

}  // namespace latchkey::engine
