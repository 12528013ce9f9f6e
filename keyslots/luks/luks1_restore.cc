#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_writer.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_header_copy.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// A header whose slots are brought, one by one, to what a backup has in them.
class SlotBySlot {
 public:
  SlotBySlot(engine::BlockDevice& device, const Luks1Bytes& bytes, const Luks1Header& header)
      : device_(device), bytes_(bytes), header_(header) {}

  bool active(std::size_t index) const { return header_.slots[index].active; }

  bool another_is_active(std::size_t index) const {
    for (std::size_t i = 0; i < kLuks1Slots; ++i) {
      if (i != index && active(i)) return true;
    }
    return false;
  }

  std::optional<std::size_t> free_slot() const {
    for (std::size_t i = 0; i < kLuks1Slots; ++i) {
      if (!active(i)) return i;
    }
    return std::nullopt;
  }

  Result<bool> holds(std::size_t index, const Luks1Slot& slot, Bytes material) const {
    const Luks1Slot& here = header_.slots[index];
    if (!here.active || here.iterations != slot.iterations || here.salt != slot.salt) return false;
    auto bytes = engine::read_bytes(device_, here.offset, material.size(), "key material");
    if (!bytes) return std::move(bytes).error();
    return std::equal(material.begin(), material.end(), bytes->begin());
  }

  // Slots are encrypted from sector 0 of their own: material is at home in each of them.
  Result<void> put(std::size_t index, const Luks1Slot& slot, Bytes material) {
    if (auto r = switch_to(index, false); !r) return r;
    if (auto r = write_synced(device_, header_.slots[index].offset, material, "key material"); !r) {
      return r;
    }
    Luks1Bytes bytes = bytes_;
    put_luks1_slot(bytes, index, slot.iterations, slot.salt);
    if (auto r = commit(bytes); !r) return r;
    return switch_to(index, true);
  }

  Result<void> drop(std::size_t index) {
    if (auto r = switch_to(index, false); !r) return r;
    const Luks1Slot& slot = header_.slots[index];
    return destroy_range(device_, slot.offset, engine::round_up(slot.length, kLuks1SectorBytes));
  }

 private:
  Result<void> switch_to(std::size_t index, bool on) {
    if (active(index) == on) return {};
    Luks1Bytes bytes = bytes_;
    put_luks1_state(bytes, index, on);
    return commit(bytes);
  }
  Result<void> commit(const Luks1Bytes& bytes) {
    auto header = parse_luks1_header(bytes);
    if (!header) return std::move(header).error();
    if (auto r = write_luks1_bytes(device_, bytes); !r) return r;
    bytes_ = bytes;
    header_ = std::move(*header);
    return {};
  }

  engine::BlockDevice& device_;
  Luks1Bytes bytes_;
  Luks1Header header_;
};

Result<std::vector<std::byte>> material_of(engine::BlockDevice& saved, const Luks1Slot& slot) {
  return engine::read_bytes(saved, slot.offset, engine::round_up(slot.length, kLuks1SectorBytes),
                            "key material of the backup");
}

// The only key there is gives its place to another: that one waits in a free slot meanwhile.
Result<void> put_over(SlotBySlot& header, std::size_t index, const Luks1Slot& slot,
                      Bytes material) {
  if (header.another_is_active(index)) return header.put(index, slot, material);
  const auto spare = header.free_slot();
  if (auto r = header.put(*spare, slot, material); !r) return r;
  if (auto r = header.put(index, slot, material); !r) return r;
  return header.drop(*spare);
}

Result<void> slot_by_slot(SlotBySlot header, engine::BlockDevice& saved,
                          const Luks1Header& wanted) {
  // Slots that are free here first: with them there is always a key that opens.
  for (const bool over_another : {false, true}) {
    for (std::size_t i = 0; i < kLuks1Slots; ++i) {
      const Luks1Slot& slot = wanted.slots[i];
      if (!slot.active || header.active(i) != over_another) continue;
      auto material = material_of(saved, slot);
      if (!material) return std::move(material).error();
      auto there = header.holds(i, slot, *material);
      if (!there) return std::move(there).error();
      if (*there) continue;
      if (auto r = put_over(header, i, slot, *material); !r) return r;
    }
  }
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    if (!header.active(i) || wanted.slots[i].active) continue;
    if (auto r = header.drop(i); !r) return r;
  }
  return {};
}

// Everything but the state of the slots and what is in them.
bool same_volume(const Luks1Bytes& a, const Luks1Bytes& b, const Luks1Header& of_a,
                 const Luks1Header& of_b) {
  if (!std::equal(a.begin(), a.begin() + luks1_at::kSlots, b.begin())) return false;
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    if (of_a.slots[i].offset != of_b.slots[i].offset ||
        of_a.slots[i].stripes != of_b.slots[i].stripes) {
      return false;
    }
  }
  return true;
}

bool any_active(const Luks1Header& header) {
  return std::any_of(header.slots.begin(), header.slots.end(),
                     [](const Luks1Slot& slot) { return slot.active; });
}

}  // namespace

Result<void> restore_luks1_header(engine::BlockDevice& device, engine::BlockDevice& saved,
                                  bool in_place, RestoreStep step) {
  auto backup = read_luks1_bytes(saved);
  if (!backup) return std::move(backup).error();
  auto wanted = parse_luks1_header(*backup);
  if (!wanted) return std::move(wanted).error().within("the backup");
  auto present = read_luks1_bytes(device);
  if (!present) return std::move(present).error();
  if (engine::starts_with(*present, 0, kLuksMagic)) {
    auto here = parse_luks1_header(*present);
    const bool can_be_used = here && any_active(*here);
    if (can_be_used && any_active(*wanted) && same_volume(*present, *backup, *here, *wanted)) {
      if (step == RestoreStep::kCheck) return {};
      return slot_by_slot(SlotBySlot(device, *present, *here), saved, *wanted);
    }
    if (can_be_used && !in_place) {
      if (any_active(*wanted)) return restored_in_place("its key slots lie elsewhere");
      return Error(ErrorCode::kRefused, "no key slot of the backup is in use: no key opens it")
          .with_hint("--force does it all the same");
    }
  }
  std::vector<std::vector<std::byte>> materials;
  for (const Luks1Slot& slot : wanted->slots) {
    auto material = material_of(saved, slot);
    if (!material) return std::move(material).error();
    materials.push_back(std::move(*material));
  }
  if (step == RestoreStep::kCheck) return {};
  for (std::size_t i = 0; i < materials.size(); ++i) {
    auto r = write_synced(device, wanted->slots[i].offset, materials[i], "key material");
    if (!r) return r;
  }
  return write_luks1_bytes(device, *backup);
}

}  // namespace latchkey::keyslots
