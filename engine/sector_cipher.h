// The transform between plaintext and ciphertext sectors, and the words that describe one.
//
// A SectorCipher is stateless per call, const and thread-safe. It counts sectors in its own sector
// size from the start of its layer; only it knows how such a number becomes a tweak (base, stride,
// width). Buffers hold a whole number of sectors, any alignment; `from` and `into` have the same
// size and are either the same memory or disjoint. The calls cannot fail.
//
// The names are dm-crypt's. Modes: "xts", "cbc". Tweak rules, T being the tweak (see CipherSpec):
//   plain, plain64   T in 32 or 64 bits, little-endian;  plain64be: big-endian, at the end
//   essiv:HASH       T encrypted (ECB) with the HASH of the key
//   eboiv            "cbc" only: the byte offset T * sector_bytes, encrypted (ECB) with the key
//   elephant         "cbc" only, BitLocker's AES-CBC + Elephant diffuser (N. Ferguson, Microsoft
//                    2006). The key is two of the same size: the first for CBC with eboiv, the
//                    second, the tweak key, for the sector key E(offset) || E(offset, top bit set).
//                    A sector is xored with its repeated sector key and diffused
//                    (elephant_diffuser.h) before CBC encrypts it.
// BitLocker counts its offsets from the start of the volume; a sector that has been moved keeps the
// tweak of the place where it lies.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::engine {

// How dm-crypt and cryptsetup name and number a cipher: "aes-xts-plain64", "aes-cbc-essiv:sha256",
// "aes-cbc-elephant".
struct CipherSpec {
  std::string algorithm;             // "aes"
  std::string mode;                  // "xts", "cbc"
  std::string iv;                    // "plain", "plain64", "essiv", "eboiv", "elephant"
  std::string iv_hash;               // "sha256", for essiv only
  std::uint32_t sector_bytes = 512;  // one data unit: 512, 1024, 2048, 4096
  // The tweak of sector n is first_tweak + n * tweak_stride. LUKS counts in 512-byte units whatever
  // the sector size, so its stride is sector_bytes / 512; BitLocker counts sectors: 1.
  std::uint64_t first_tweak = 0;
  std::uint32_t tweak_stride = 1;

  // The cipher part back in cryptsetup's spelling.
  std::string name() const;
};

// Splits "aes-xts-plain64". kNotSupported with the name in the message where it is not of that
// form.
Result<CipherSpec> parse_cipher_spec(std::string_view name);

class SectorCipher {
 public:
  virtual ~SectorCipher() = default;
  virtual std::uint32_t sector_bytes() const noexcept = 0;
  // What it runs on: one of the names of ciphers/cipher_variants.h.
  virtual std::string_view variant() const noexcept = 0;
  virtual void encrypt(std::uint64_t first_sector, Bytes from,
                       MutableBytes into) const noexcept = 0;
  virtual void decrypt(std::uint64_t first_sector, Bytes from,
                       MutableBytes into) const noexcept = 0;
};

// The key is copied where it is needed. kNotSupported names a cipher, mode, tweak rule or key size
// that is not available; kUsage: the forced variant cannot run here (ciphers/cipher_variants.h,
// where this is defined).
Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key);

}  // namespace latchkey::engine
