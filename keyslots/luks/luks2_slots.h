// Where a new LUKS2 key slot goes and what it holds. Internal to the writers of LUKS2 headers; any
// thread.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "keyslots/luks/luks2_metadata.h"

namespace latchkey::keyslots {

struct Luks2Gap {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// What of the key slots area no key slot uses, in order.
std::vector<Luks2Gap> luks2_gaps(const Luks2Metadata& metadata, std::uint64_t header_bytes);

// Where `size` bytes lie in the key slots area that no key slot uses. kRefused: there is no room.
engine::Result<std::uint64_t> find_luks2_area(const Luks2Metadata& metadata,
                                              std::uint64_t header_bytes, std::uint64_t size);

// A key slot with that number for a volume key of `key_bytes`, at a free place, with a fresh salt.
// Its material is encrypted as segment 0 is.
engine::Result<Luks2Keyslot> plan_luks2_slot(const Luks2Metadata& metadata,
                                             std::uint64_t header_bytes, unsigned id,
                                             std::uint32_t key_bytes, const KdfSpec& cost);

// What is to be written to slot.area.offset, as long as the area needs.
engine::Result<std::vector<std::byte>> make_luks2_material(const Luks2Keyslot& slot,
                                                           engine::Bytes volume_key,
                                                           engine::Bytes secret);

}  // namespace latchkey::keyslots
