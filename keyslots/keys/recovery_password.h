// Recovery passwords as people have them: 48 digits in eight groups, printed, saved by Windows,
// typed, sent through a word processor. The same form has Latchkey's recovery passphrase for LUKS.
// What the digits stand for is BitLocker's business (bitlocker_unlock.h). Pure, any thread.
#pragma once

#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kRecoveryGroups = 8;
inline constexpr std::size_t kRecoveryGroupDigits = 6;
inline constexpr unsigned kRecoveryGroupDivisor = 11;  // of each group

struct RecoveryPassword {
  engine::SecretBytes digits;  // 48 digits with a dash between the groups
  std::string protector_id;    // the last GUID before it, as Windows' own file names it; or empty
};

// Those of the right shape, anywhere in a text; whether the groups check is not looked at.
std::vector<RecoveryPassword> find_recovery_passwords(engine::Bytes text);

// What is wrong with a text that is nearly a recovery password: "group 3 has 5 digits, not 6".
// Empty for one that checks, and for anything else.
std::string slip_in_recovery_password(engine::Bytes text);

}  // namespace latchkey::keyslots
