// AES-XTS as a SectorCipher on one of the kernels of xts_kernel.h.
#pragma once

#include <memory>

#include "engine/ciphers/xts_kernel.h"
#include "engine/sector_cipher.h"

namespace latchkey::engine::xts {

// Is this a spec and key size the kernels do: aes-xts with plain or plain64 and 32 or 64 bytes?
bool is_kernel_spec(const CipherSpec& spec, std::size_t key_bytes);

// For such a spec. Unlike OpenSSL, the kernels take a key whose two halves are equal, as vector 1
// of IEEE 1619 has it.
std::unique_ptr<SectorCipher> make_xts_cipher(const CipherSpec& spec, const SecretBytes& key,
                                              const Kernel& kernel);

}  // namespace latchkey::engine::xts
