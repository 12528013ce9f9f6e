// Every sector cipher OpenSSL has, sector by sector: the reference that faster kernels are compared
// with, and what is used where there is none. Internal to the engine; sector_cipher.h is the
// interface.
#pragma once

#include <memory>

#include "engine/sector_cipher.h"

namespace latchkey::engine {

// For specifications whose sector size is known to be possible.
Result<std::unique_ptr<SectorCipher>> make_openssl_cipher(const CipherSpec& spec,
                                                          const SecretBytes& key);

// What encrypts the tweaks of an "essiv" specification: the hash it names of the key.
Result<SecretBytes> essiv_key(const CipherSpec& spec, const SecretBytes& key);

}  // namespace latchkey::engine
