// From a passphrase to a key: PBKDF2 (RFC 8018), argon2i and argon2id (RFC 9106). Costs come from
// disk, so they are checked against limits before a byte of memory or a second is spent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

struct KdfLimits {
  std::uint64_t memory_bytes;  // --max-kdf-memory
  double seconds;              // --max-kdf-time, against an estimate made on this machine

  // The smaller of 4 GiB and half of RAM; 300 seconds.
  static KdfLimits defaults();
};

struct KdfSpec {
  std::string type;  // "pbkdf2", "argon2i", "argon2id"
  std::string hash;  // pbkdf2 only, cryptsetup's spelling: "sha256", "sha3-256", "blake2b-512"
  std::uint32_t iterations = 0;  // pbkdf2: iterations; argon2: passes
  std::uint32_t memory_kib = 0;  // argon2
  std::uint32_t lanes = 0;       // argon2
  std::vector<std::byte> salt;

  std::string describe() const;  // "argon2id, 1024 MiB, 4 passes, 4 lanes"
};

// Whether derive_key() would take these costs, as far as that can be told without a secret or a
// salt. Same errors; at most a measurement of some milliseconds.
engine::Result<void> check_kdf_cost(const KdfSpec& spec, std::size_t key_bytes,
                                    const KdfLimits& limits);

// kNotSupported: an unknown KDF or hash, by name, or over the limits (the message has the
// number, the hint the option that raises it). kDamaged: a cost no implementation accepts.
engine::Result<engine::SecretBytes> derive_key(const KdfSpec& spec, engine::Bytes secret,
                                               std::size_t key_bytes, const KdfLimits& limits);

}  // namespace latchkey::keyslots
