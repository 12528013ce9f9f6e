#include "engine/sector_cipher.h"

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

}  // namespace latchkey::engine
