// The rule of unlocking, in one place for every format: protectors that need no secret come first;
// a pair (protector, secret) that does not open means the next one. If none does, what kept a
// protector from being tried at all is said, or that a secret cannot be one (kUsage: a file has
// several readings), else what was tried and what to do next. Pairs that name each other go first.
#pragma once

#include <optional>

#include "keyslots/key_ring.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

struct UnlockOptions {
  std::optional<unsigned> only_protector;  // --keyslot N: this one, whatever its priority
  KdfLimits limits = KdfLimits::defaults();
};

struct OpenedKeys {
  std::vector<engine::SecretBytes> keys;  // as VolumeHeader::layout() takes them
  std::string opened_by;                  // "keyslot 1 with key file 'x.key'"
  std::vector<unsigned> opened;           // numbers of those protectors, one for each key
};

// The keys alone. Errors: kKeyNeeded (no candidate at all), kWrongKey (candidates, none fits; lists
// the pairs), or whatever stopped it.
engine::Result<OpenedKeys> find_keys(const VolumeHeader& header, const KeyRing& ring,
                                     const UnlockOptions& options);

// The keys and, with them, the layout. Errors as above, and layout()'s.
engine::Result<UnlockedVolume> unlock_volume(const VolumeHeader& header, const KeyRing& ring,
                                             const UnlockOptions& options);

}  // namespace latchkey::keyslots
