// Key files from arbitrary bytes, through everything that looks into them: encodings, JSON of all
// clients, base64, recovery passwords. Nothing is unwrapped, no key derivation runs.
#include <cstdint>
#include <vector>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/found_key.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"

using namespace latchkey;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const engine::Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  (void)keyslots::slip_in_recovery_password(bytes);
  auto found = keyslots::look_into_key_bytes(engine::SecretBytes::copy_of(bytes), "'input'");
  if (!found) return 0;
  if (found->empty()) __builtin_trap();
  for (const keyslots::FoundKey& key : *found) {
    if (key.kind != keyslots::FoundKey::Kind::kVaultSecret) continue;
    // Either there is a value, or it is said why there is none.
    if (key.vault.value.empty() == key.vault.missing.empty()) __builtin_trap();
    const auto decoded = keyslots::decode_base64_secret(key.vault.value.span());
    if (decoded) (void)keyslots::is_wrapped(key.vault, decoded->span());
  }
  return 0;
}
