// What a new key slot's key derivation should cost: chosen so that it takes a wished time on this
// machine, within the limits cryptsetup has for new slots. Measuring takes about twice that time.
// One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/result.h"
#include "keyslots/kdf.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kLuksKdfSaltBytes = 32;
inline constexpr std::uint32_t kMinPbkdf2Iterations = 1000;
inline constexpr std::uint32_t kMaxArgonMemoryKib = std::uint32_t{4} << 20;  // cryptsetup's limit

struct KdfWish {
  std::string type = "argon2id";  // "argon2id", "argon2i", "pbkdf2"
  std::string hash = "sha256";    // pbkdf2 only
  double seconds = 2.0;           // cryptsetup's default, too
  // Named ones are taken as they are, and nothing is measured once `iterations` is.
  std::optional<std::uint32_t> iterations;  // passes of argon2
  std::optional<std::uint32_t> memory_kib;  // argon2: the most; default: the smaller of 1 GiB and
                                            // half of RAM
  std::optional<std::uint32_t> lanes;       // argon2: default: processors, at most 4
};

// Without a salt. `key_bytes`: how much will be derived. Errors: kNotSupported (type or hash not
// known), kUsage (a cost that no implementation accepts).
engine::Result<KdfSpec> choose_kdf_cost(const KdfWish& wish, std::size_t key_bytes);

// PBKDF2 for the digest of a volume key: at least kMinPbkdf2Iterations, which `seconds` 0 asks for
// without any measuring.
engine::Result<KdfSpec> choose_digest_cost(const std::string& hash, double seconds);

// `cost` with a fresh salt.
engine::Result<KdfSpec> with_new_salt(KdfSpec cost);

}  // namespace latchkey::keyslots
