// Which byte of a BitLocker volume's plain view lives where: the rules of formats versions 1 and 2
// and of volumes half converted, as a list of pieces. Pure, no I/O; any thread.
//
// Version 2: the first sectors are kept elsewhere, and the three copies of the metadata, the place
// where those sectors are kept and what records a conversion read as zeros. Version 1: the first
// 8 KiB are stored in the clear, but for what BitLocker changed in the boot sector. Sectors are
// always ciphered by their physical place, so decryption comes first and the map above it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/result.h"
#include "keyslots/bitlocker/bitlocker_metadata.h"
#include "keyslots/bitlocker/eow.h"

namespace latchkey::keyslots {

struct BitlockerPiece {
  enum class Kind {
    kCipher,  // ciphertext at `offset` of the volume
    kPlain,   // as it lies at `offset`
    kBlank,   // reads as zeros
    kMade,    // Vista's boot sector as it was before
  };
  Kind kind = Kind::kCipher;
  std::uint64_t offset = 0;  // kCipher, kPlain
  std::uint64_t length = 0;  // bytes
};

struct BitlockerShape {
  std::uint64_t volume_bytes = 0;  // whole sectors that there are
  std::uint32_t sector_bytes = 512;
  std::uint32_t cluster_bytes = 0;  // version 1; 0 where it is not known
};

// Without gaps, from the first byte to `volume_bytes`. kDamaged where areas overlap, lie outside or
// between sectors: such metadata is not to be trusted.
engine::Result<std::vector<BitlockerPiece>> plan_bitlocker_layout(const BitlockerMetadata& metadata,
                                                                  const EowState* eow,
                                                                  const BitlockerShape& shape);

}  // namespace latchkey::keyslots
