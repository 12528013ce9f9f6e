// Writing a LUKS1 header. There is one copy of it, of 592 bytes in two sectors, and a power cut may
// leave either sector old or new: so nothing that takes effect depends on more than one sector. A
// key slot is filled in while it is inactive, synced, and switched on or off by the four bytes of
// its state. Internal to luks1*.cc; one thread.
#pragma once

#include <array>
#include <cstdint>

#include "engine/block_device.h"
#include "engine/result.h"
#include "keyslots/luks/luks1_header.h"

namespace latchkey::keyslots {

using Luks1Bytes = std::array<std::byte, kLuks1HeaderBytes>;

// Each slot's share of the space behind the header.
std::uint64_t luks1_slot_step_bytes(std::uint32_t key_bytes);
// Where slot `index` has its material in a header made here, or by cryptsetup.
std::uint64_t luks1_slot_offset(std::uint32_t key_bytes, std::size_t index);

engine::Result<Luks1Bytes> read_luks1_bytes(engine::BlockDevice& device);

// Writes the whole header and syncs: for a change that any mixture of sectors survives.
engine::Result<void> write_luks1_bytes(engine::BlockDevice& device, const Luks1Bytes& bytes);

// The fields of a slot, all but its state, and its state.
void put_luks1_slot(Luks1Bytes& header, std::size_t index, std::uint32_t iterations,
                    engine::Bytes salt);
void put_luks1_state(Luks1Bytes& header, std::size_t index, bool active);

}  // namespace latchkey::keyslots
