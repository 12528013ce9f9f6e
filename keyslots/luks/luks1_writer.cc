#include "keyslots/luks/luks1_writer.h"

#include <algorithm>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_format.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::MutableBytes;
using engine::Result;

namespace {

constexpr std::uint64_t kSlotAlignBytes = 4096;
constexpr std::uint64_t kPayloadAlignBytes = std::uint64_t{1} << 20;

MutableBytes slot_of(Luks1Bytes& header, std::size_t index) {
  return MutableBytes(header).subspan(luks1_at::kSlots + index * kLuks1SlotBytes, kLuks1SlotBytes);
}

}  // namespace

std::uint64_t luks1_slot_step_bytes(std::uint32_t key_bytes) {
  return engine::round_up(std::uint64_t{key_bytes} * kLuksStripes, kSlotAlignBytes);
}

std::uint64_t luks1_slot_offset(std::uint32_t key_bytes, std::size_t index) {
  return kSlotAlignBytes + index * luks1_slot_step_bytes(key_bytes);
}

std::uint64_t luks1_header_space_bytes(std::uint32_t key_bytes) {
  return engine::round_up(luks1_slot_offset(key_bytes, kLuks1Slots), kPayloadAlignBytes);
}

Result<Luks1Bytes> read_luks1_bytes(engine::BlockDevice& device) {
  Luks1Bytes bytes{};
  if (auto r = engine::read_bytes(device, 0, bytes, "luks1 header"); !r) {
    return std::move(r).error();
  }
  return bytes;
}

Result<void> write_luks1_bytes(engine::BlockDevice& device, const Luks1Bytes& bytes) {
  return write_synced(device, 0, bytes, "luks1 header");
}

void put_luks1_slot(Luks1Bytes& header, std::size_t index, std::uint32_t iterations, Bytes salt) {
  const MutableBytes slot = slot_of(header, index);
  engine::store_be<std::uint32_t>(slot, luks1_at::kSlotIterations, iterations);
  std::copy(salt.begin(), salt.end(), slot.begin() + luks1_at::kSlotSalt);
}

void put_luks1_state(Luks1Bytes& header, std::size_t index, bool active) {
  engine::store_be<std::uint32_t>(slot_of(header, index), luks1_at::kSlotState,
                                  active ? kLuks1Active : kLuks1Inactive);
}

}  // namespace latchkey::keyslots
