// From what a person holds to a BitLocker key: recovery password, passphrase, external key, clear
// key -> the key of a protector -> what AES-CCM seals with it (VMK, FVEK, stored secrets).
//
// Keys stay in SecretBytes throughout. Any thread; nothing is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kBitlockerKeyBytes = 32;  // of VMKs and of whatever seals them

// The 16 bytes that 48 digits stand for; groups may be joined, or apart by blanks or dashes. Checks
// what Windows checks: 8 groups of 6 digits, each a multiple of 11, below 720896, its last digit
// made from the others. kUsage says what is wrong and in which group.
engine::Result<engine::SecretBytes> parse_recovery_password(std::string_view text);

// The reverse: "042647-302313-...". `key` holds 16 bytes.
engine::SecretBytes format_recovery_password(engine::Bytes key);

// What is stretched for a recovery password: the SHA-256 of its 16 bytes.
engine::Result<engine::SecretBytes> recovery_password_hash(engine::Bytes key);

// What is stretched for a passphrase: SHA-256, twice, of its UTF-16LE. kUsage: not valid UTF-8.
engine::Result<engine::SecretBytes> passphrase_hash(engine::Bytes utf8);

// 2^20 rounds of SHA-256 over {last, initial, salt, count}: an eighth of a second.
engine::Result<engine::SecretBytes> stretch_key(engine::Bytes initial_hash, engine::Bytes salt);

// What an AES-CCM datum's payload {nonce 12, MAC 16, ciphertext} holds under a 32-byte key. Nothing
// where the key does not fit (or the bytes were changed). kDamaged: too short for one.
engine::Result<std::optional<engine::SecretBytes>> unseal(engine::Bytes sealed, engine::Bytes key);

struct UnsealedKey {
  std::uint16_t type = 0;  // 0x2003 a VMK, 0x8000.. an FVEK, 0x2005 a hash
  engine::SecretBytes key;
};

// The same, for a datum that holds a key: its type, and its bytes without their 12 bytes of head.
// kDamaged where what comes out is authentic but not a key.
engine::Result<std::optional<UnsealedKey>> unseal_key(engine::Bytes sealed, engine::Bytes key);

}  // namespace latchkey::keyslots
