// The variants a sector cipher can run on: "avx512", "avx2", "aesni" (our kernels, kernel_set.h),
// and "openssl", which can do everything everywhere, sector by sector.
//
// make_sector_cipher() of sector_cipher.h takes the fastest that this processor can run and that
// has the cipher, unless force_cipher_variant() or the environment variable LATCHKEY_CIPHER names
// one; SectorCipher::variant() tells which it was. Thread-safe, but for the moment when a variant
// is forced: do that before the first cipher is made.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "engine/sector_cipher.h"

namespace latchkey::engine {

inline constexpr std::string_view kOpensslVariant = "openssl";

// The names of those that can run here, fastest first; the last is always "openssl".
std::vector<std::string_view> usable_cipher_variants();

// For every cipher made from now on; one the variant has no kernel for still goes to OpenSSL. It
// overrides LATCHKEY_CIPHER. kUsage, naming those that can run here, where this one cannot.
Result<void> force_cipher_variant(std::string_view variant);

// The one in force: what was forced, what LATCHKEY_CIPHER says (kUsage where it cannot run here),
// else the fastest.
Result<std::string_view> cipher_variant();

// This cipher on this variant, whatever is in force. kUsage where the variant cannot run here,
// kNotSupported where it has no kernel for the cipher; else as make_sector_cipher().
Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key,
                                                         std::string_view variant);

// The port limit of a variant: the rounds that encrypting `bytes` bytes with a key of `key_bytes`
// (16, 24 or 32) takes, on registers alone, rounded up to a few KiB. Time it: nothing that does
// AES with this instruction set can be faster. False, and nothing done, where the variant is
// "openssl" or cannot run here.
bool run_aes_rounds(std::string_view variant, std::size_t key_bytes, std::size_t bytes);

}  // namespace latchkey::engine
