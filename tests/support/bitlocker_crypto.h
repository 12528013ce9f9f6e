// The ciphers of BitLocker for the volumes that tests build, on OpenSSL's EVP calls alone. Slow and
// plain on purpose. Any failure aborts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/support/bitlocker_builder.h"

namespace latchkey::test {

ByteVector fve_sha256(const ByteVector& bytes);
// 2^20 rounds over {last, initial, salt, count}.
ByteVector fve_stretch(const ByteVector& hash, const ByteVector& salt);
// MAC, then ciphertext.
ByteVector fve_ccm(const ByteVector& key, const ByteVector& nonce, const ByteVector& plain);

// Encrypts one sector in place. `offset`: where it lies on the volume, in bytes.
void fve_encrypt_sector(FveMethod method, const ByteVector& fvek, std::uint64_t offset,
                        std::byte* sector, std::uint32_t sector_bytes);

}  // namespace latchkey::test
