// A LUKS2 volume caught in the middle of a re-encryption (LUKS2 on-disk format 1.1, section 3.6 and
// cryptsetup's online re-encryption).
//
// The header has the volume as it is now, a list of active segments, and as it was ("previous") and
// will be ("final"). A *hot* segment was being rewritten when the work stopped: parts of it are
// old, parts new, and the re-encryption key slot says how to tell. The rule here: every active
// segment must be a piece of the old or of the new volume, at the place and with the tweak that
// follow from its position; the record itself must be verified with the keys; and a hot segment is
// read only where each of its bytes is known to be old or new. Everything else is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/luks/luks2_metadata.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// Points into the metadata it was made from.
struct Luks2Reencryption {
  int version = 0;  // of its record: 2, or 3 for decryption that moves data
  const Luks2Keyslot* slot = nullptr;
  const Luks2Segment* previous = nullptr;
  const Luks2Segment* final = nullptr;
  const Luks2Segment* moved = nullptr;      // where the head of the volume was put aside, or null
  const Luks2Segment* hot = nullptr;        // null: it stopped between two steps
  const Luks2Digest* old_digest = nullptr;  // null: the volume was plain
  const Luks2Digest* new_digest = nullptr;  // null: it will be plain
  // The volume keys that are needed, in the order they are handed over. One where the whole volume
  // is old, or new, already: cryptsetup wipes the old key slot before it ends the re-encryption.
  std::vector<const Luks2Digest*> keys;
};

bool is_under_reencryption(const Luks2Metadata& metadata);

// kNotSupported or kDamaged says why the volume cannot be opened in this state.
engine::Result<Luks2Reencryption> understand_reencryption(const Luks2Metadata& metadata);

// "re-encryption, forward, 43% done"; `volume_bytes` is what the active segments add up to.
std::string describe_reencryption(const Luks2Metadata& metadata, const Luks2Reencryption& state,
                                  std::uint64_t volume_bytes);

// Is the record one that somebody who had the keys wrote? kDamaged where not. Without both keys it
// cannot be told, nor does it matter: then all of the volume is read like one that is at rest.
engine::Result<void> verify_reencryption(const Luks2Metadata& metadata,
                                         const Luks2Reencryption& state,
                                         const std::vector<engine::SecretBytes>& keys,
                                         const KdfLimits& limits);

// The layers and the map; keys are for the caller to fill in. Reads the hot segment and its record
// to find out which parts of it are old. `volume_bytes` as above.
engine::Result<UnlockedVolume> reencryption_layout(const VolumeSource& source,
                                                   const Luks2Metadata& metadata,
                                                   const Luks2Reencryption& state,
                                                   std::uint64_t volume_bytes);

}  // namespace latchkey::keyslots
