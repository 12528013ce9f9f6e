// BitLocker's encryption methods: how they are called, which cipher of the engine they are, and
// what a key of theirs looks like. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "engine/sector_cipher.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"

namespace latchkey::keyslots {

// "aes-xts-plain64 (XTS-AES 128)"; "method 0x1234" where it is not known.
std::string describe_bitlocker_method(BitlockerMethod method);

// Of the whole key as the cipher takes it, the Elephant diffuser's tweak key included; 0 where the
// method is not known.
std::size_t bitlocker_key_bytes(BitlockerMethod method);

// The cipher of a layer whose first sector is the volume's first. kNotSupported names the method.
engine::Result<engine::CipherSpec> bitlocker_cipher(BitlockerMethod method,
                                                    std::uint32_t sector_bytes);

// The key as the cipher takes it, out of what a volume or a memory image holds: as it is; padded
// (with the diffuser and AES-128 each half fills 32 bytes, of the others the first bytes count);
// or behind the two bytes of its method, as some tools write it. Nothing where the size fits none.
std::optional<engine::SecretBytes> bitlocker_cipher_key(BitlockerMethod method,
                                                        engine::Bytes stored);

}  // namespace latchkey::keyslots
