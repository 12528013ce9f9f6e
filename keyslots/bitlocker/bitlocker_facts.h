// A BitLocker volume in words: what `info` shows of it, and why it must not be written. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "keyslots/bitlocker/bitlocker_copies.h"
#include "keyslots/bitlocker/bitlocker_layout.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// `suspended`: a clear key opens it.
VolumeFacts bitlocker_facts(const FoundBitlocker& found, const BitlockerShape& shape,
                            const EowState* eow, bool suspended);

// How large the volume says it is; 0 where it does not say.
std::uint64_t declared_bitlocker_bytes(const FoundBitlocker& found, const BitlockerShape& shape);

// Empty where writing changes nothing but the data: version 2, fully encrypted, all checks passed.
std::string why_bitlocker_read_only(const FoundBitlocker& found, const BitlockerMetadata& metadata);

}  // namespace latchkey::keyslots
