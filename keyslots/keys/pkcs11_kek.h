// Key-encryption keys that never leave an HSM or a smart card: found by a PKCS#11 URI (RFC 7512)
// through p11-kit, used with C_Decrypt (CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS).
//
// Modules: those p11-kit is configured with, or the one a module-path in the URI names. The PIN
// comes from `ask`, never out of the URI. The key holds its session until it is destroyed; one
// thread. Errors: kUsage (the URI, nothing or too much matches it), kWrongKey (the PIN), kSystem.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/result.h"
#include "keyslots/keys/key_wrap.h"

namespace latchkey::keyslots {

inline bool is_pkcs11_uri(std::string_view text) noexcept {
  return text.starts_with("pkcs11:");
}

engine::Result<std::unique_ptr<Kek>> open_pkcs11_kek(const std::string& uri,
                                                     const AskPassphrase& ask);

}  // namespace latchkey::keyslots
