// Recovery passphrases for LUKS volumes: 128 random bits as eight groups of six digits, each a
// multiple of 11, so that a group that was copied wrongly is found before any key is derived from
// it. The form is BitLocker's; the passphrase is the text itself, dashes included, so every program
// that opens LUKS takes it as it is printed.
#pragma once

#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

// What the token of a key slot with such a passphrase is called.
inline constexpr const char* kRecoveryToken = "latchkey-recovery";

// kSystem where the kernel has no random bytes.
engine::Result<engine::SecretBytes> make_recovery_passphrase();

}  // namespace latchkey::keyslots
