// A SectorCipher on one of the kernel sets of kernel_set.h. Internal to the engine:
// cipher_variants.h chooses.
#pragma once

#include <memory>

#include "engine/ciphers/kernel_set.h"
#include "engine/sector_cipher.h"

namespace latchkey::engine::kernels {

// Is this a cipher and key size the kernels do?
bool has_kernel(const CipherSpec& spec, std::size_t key_bytes);

// For such a spec. Unlike OpenSSL, XTS takes a key whose two halves are equal, as vector 1 of
// IEEE 1619 has it.
Result<std::unique_ptr<SectorCipher>> make_kernel_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key,
                                                         const KernelSet& set);

}  // namespace latchkey::engine::kernels
