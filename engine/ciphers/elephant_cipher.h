// BitLocker's AES-CBC + Elephant diffuser. Internal to the engine; sector_cipher.h is the interface
// and describes the cipher.
#pragma once

#include <memory>

#include "engine/sector_cipher.h"

namespace latchkey::engine {

// For specifications with mode "cbc" and iv "elephant", whose sector size is known to be possible.
Result<std::unique_ptr<SectorCipher>> make_elephant_cipher(const CipherSpec& spec,
                                                           const SecretBytes& key);

}  // namespace latchkey::engine
