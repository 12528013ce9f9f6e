#include "keyslots/keys/recovery_passphrase.h"

#include "keyslots/bitlocker/bitlocker_unlock.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

engine::Result<engine::SecretBytes> make_recovery_passphrase() {
  constexpr std::size_t kKeyBytes = 16;
  auto key = random_secret(kKeyBytes);
  if (!key) return std::move(key).error();
  return format_recovery_password(key->span());
}

}  // namespace latchkey::keyslots
