#include <algorithm>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks2_json_edit.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks2_slots.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_header_copy.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct Material {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

// What is to be written: material first, then the header that names it.
struct Plan {
  std::vector<Material> materials;
  Luks2Content content;
};

bool overlap(const Luks2Area& a, const Luks2Area& b) {
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

bool is_used(const Luks2Metadata& metadata, const Luks2Area& area) {
  return std::any_of(metadata.keyslots.begin(), metadata.keyslots.end(),
                     [&](const Luks2Keyslot& slot) { return overlap(slot.area, area); });
}

Luks2Content content_of(const Luks2Copy& copy, std::uint64_t sequence) {
  Luks2Content content;
  content.binary.assign(copy.bytes.begin(), copy.bytes.begin() + kLuks2BinaryBytes);
  content.json = copy.json();
  engine::store_be<std::uint64_t>(content.binary, luks2_at::kSequence, sequence);
  return content;
}

// Puts each slot of the backup where nothing of the present header is. kRefused: there is no room.
Result<Plan> plan_beside(engine::BlockDevice& device, const Luks2Copy& present,
                         engine::BlockDevice& saved, const Luks2Copy& backup,
                         std::uint64_t sequence) {
  Plan plan;
  plan.content = content_of(backup, sequence);
  const Luks2Header& header = *backup.header;
  Luks2Metadata taken = present.header->metadata;
  // Places that need no writing, or none that matters, are taken before others are moved there.
  std::vector<const Luks2Keyslot*> moving;
  for (const Luks2Keyslot& slot : header.metadata.keyslots) {
    auto bytes = engine::read_bytes(saved, slot.area.offset, slot.area.size, "key material");
    if (!bytes) return std::move(bytes).error().within("the backup");
    auto here = engine::read_bytes(device, slot.area.offset, slot.area.size, "key material");
    if (!here) return std::move(here).error();
    if (*here != *bytes && is_used(present.header->metadata, slot.area)) {
      moving.push_back(&slot);
      continue;
    }
    if (*here != *bytes) plan.materials.push_back({slot.area.offset, std::move(*bytes)});
    taken.keyslots.push_back(slot);
  }
  for (const Luks2Keyslot* slot : moving) {
    auto offset = find_luks2_area(taken, header.header_bytes, slot->area.size);
    if (!offset) return std::move(offset).error();
    auto bytes = engine::read_bytes(saved, slot->area.offset, slot->area.size, "key material");
    if (!bytes) return std::move(bytes).error().within("the backup");
    auto json = luks2_json_with_area_at(plan.content.json, slot->id, *offset);
    if (!json) return std::move(json).error();
    plan.content.json = std::move(*json);
    plan.materials.push_back({*offset, std::move(*bytes)});
    Luks2Keyslot moved = *slot;
    moved.area.offset = *offset;
    taken.keyslots.push_back(std::move(moved));
  }
  return plan;
}

// All of the key slots area as it is in the backup.
Result<Plan> plan_in_place(engine::BlockDevice& saved, const Luks2Copy& backup,
                           std::uint64_t sequence) {
  Plan plan;
  plan.content = content_of(backup, sequence);
  const std::uint64_t begin = 2 * backup.header->header_bytes;
  auto bytes =
      engine::read_bytes(saved, begin, backup.header->metadata.keyslots_bytes, "key material");
  if (!bytes) return std::move(bytes).error().within("the backup");
  plan.materials.push_back({begin, std::move(*bytes)});
  return plan;
}

Result<void> carry_out(engine::BlockDevice& device, const Plan& plan, CopyOrder order) {
  for (const Material& material : plan.materials) {
    if (material.bytes.empty()) continue;
    if (auto r = write_synced(device, material.offset, material.bytes, "key material"); !r) {
      return r;
    }
  }
  return write_luks2_copies(device, plan.content, order);
}

// Material that only the header before knew.
Result<void> destroy_old(engine::BlockDevice& device, const Luks2Metadata& before,
                         const std::string& json) {
  auto now = parse_luks2_json(json);
  if (!now) return std::move(now).error();
  for (const Luks2Keyslot& slot : before.keyslots) {
    if (is_used(*now, slot.area)) continue;
    if (auto r = destroy_range(device, slot.area.offset, slot.area.size); !r) return r;
  }
  return {};
}

}  // namespace

Result<void> restore_luks2_header(engine::BlockDevice& device, engine::BlockDevice& saved,
                                  bool in_place, RestoreStep step) {
  const Luks2Copies backup = read_luks2_copies(saved);
  const Luks2Copy* wanted = backup.newest();
  if (wanted == nullptr) return Error(ErrorCode::kDamaged, "the backup holds no luks2 header");
  const Luks2Copies copies = read_luks2_copies(device);
  const Luks2Copy* present = copies.newest();
  std::uint64_t sequence = wanted->header->sequence;
  for (const Luks2Copy* copy : {&copies.first, &copies.second}) {
    if (copy->sound()) sequence = std::max(sequence, copy->header->sequence);
  }
  ++sequence;
  const bool alike =
      present != nullptr && present->header->header_bytes == wanted->header->header_bytes &&
      present->header->metadata.keyslots_bytes == wanted->header->metadata.keyslots_bytes;
  if (alike) {
    auto plan = plan_beside(device, *present, saved, *wanted, sequence);
    if (plan && step == RestoreStep::kCheck) return {};
    if (plan) {
      const CopyOrder order =
          present == &copies.first ? CopyOrder::kSecondFirst : CopyOrder::kFirstFirst;
      if (auto r = carry_out(device, *plan, order); !r) return r;
      return destroy_old(device, present->header->metadata, plan->content.json);
    }
    if (plan.error().code() != ErrorCode::kRefused) return std::move(plan).error();
  }
  if (present != nullptr && !in_place)
    return restored_in_place("there is no room for the keys of both headers");
  auto plan = plan_in_place(saved, *wanted, sequence);
  if (!plan) return std::move(plan).error();
  if (step == RestoreStep::kCheck) return {};
  return carry_out(device, *plan, CopyOrder::kFirstFirst);
}

}  // namespace latchkey::keyslots
