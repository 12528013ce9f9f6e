// The one error of every cipher that cannot be made. Internal to the engine.
#pragma once

#include <string>

#include "engine/sector_cipher.h"

namespace latchkey::engine {

// "cipher 'serpent-xts-plain64' is not supported: why".
inline Error unsupported_cipher(const CipherSpec& spec, const std::string& why) {
  return {ErrorCode::kNotSupported,
          "cipher '" + printable(spec.name()) + "' is not supported: " + why};
}

}  // namespace latchkey::engine
