// The protectors of a BitLocker volume: what opens each, how it is shown, and opening one.
//
// Each keeps the volume's master key (VMK) once more, sealed with a key that comes from a secret, a
// TPM, a certificate, or (clear key: protection is suspended) stands beside it. Those of kinds that
// cannot be opened here are listed with what is known of them. Any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

enum class BitlockerProtectorKind {
  kClearKey,
  kTpm,  // alone, or with a PIN, a startup key or both
  kExternalKey,
  kRecoveryPassword,
  kSmartCard,
  kPassphrase,
  kUnknown,
};

// Points into the metadata it was read from.
struct BitlockerProtector {
  BitlockerProtectorKind kind = BitlockerProtectorKind::kUnknown;
  std::uint16_t code = 0;        // the kind as it is stored
  const Datum* datum = nullptr;  // all of it
  engine::Bytes sealed_vmk;      // AES-CCM payload; empty: none is there
  engine::Bytes clear_key;       // kClearKey
  engine::Bytes salt;            // of the key derivation; kRecoveryPassword, kPassphrase
  std::uint16_t stretch_flags = 0;
};

std::vector<BitlockerProtector> read_bitlocker_protectors(const BitlockerMetadata& metadata);

// How it is shown: "protector 0".
Protector describe_bitlocker_protector(const BitlockerProtector& protector, unsigned number);

// The VMK. kWrongKey: the secret does not fit. kUsage: it cannot be one (a recovery password with a
// wrong digit, a passphrase that is not UTF-8). kDamaged: what it opens is no VMK.
engine::Result<engine::SecretBytes> open_bitlocker_protector(const BitlockerProtector& protector,
                                                             const Secret& secret);

// The 16 bytes of a recovery password that the protector keeps under the VMK. kNotSupported: it
// keeps none; kDamaged: not one that this VMK opens.
engine::Result<engine::SecretBytes> stored_recovery_key(const BitlockerProtector& protector,
                                                        engine::Bytes vmk);

}  // namespace latchkey::keyslots
