#include "keyslots/luks/luks2_slots.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/sector_cipher.h"
#include "keyslots/kdf_cost.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

std::vector<Luks2Gap> luks2_gaps(const Luks2Metadata& metadata, std::uint64_t header_bytes) {
  std::vector<const Luks2Area*> used;
  for (const Luks2Keyslot& slot : metadata.keyslots) used.push_back(&slot.area);
  std::sort(used.begin(), used.end(),
            [](const Luks2Area* a, const Luks2Area* b) { return a->offset < b->offset; });
  std::vector<Luks2Gap> gaps;
  std::uint64_t free_from = 2 * header_bytes;
  const auto add_until = [&](std::uint64_t end) {
    if (end > free_from) gaps.push_back({free_from, end - free_from});
  };
  for (const Luks2Area* area : used) {
    add_until(area->offset);
    free_from = std::max(free_from, area->offset + area->size);
  }
  add_until(2 * header_bytes + metadata.keyslots_bytes);
  return gaps;
}

Result<std::uint64_t> find_luks2_area(const Luks2Metadata& metadata, std::uint64_t header_bytes,
                                      std::uint64_t size) {
  for (const Luks2Gap& gap : luks2_gaps(metadata, header_bytes)) {
    const std::uint64_t begin = engine::round_up(gap.offset, kLuks2AreaUnitBytes);
    const std::uint64_t end = gap.offset + gap.size;
    if (begin < end && end - begin >= size) return begin;
  }
  return Error(ErrorCode::kRefused, fmt::format("the key slots area of {} bytes has no room for "
                                                "another {} bytes of key material",
                                                metadata.keyslots_bytes, size))
      .with_hint(
          "remove another key first, or let cryptsetup luksChangeKey write over the old one");
}

Result<Luks2Keyslot> plan_luks2_slot(const Luks2Metadata& metadata, std::uint64_t header_bytes,
                                     unsigned id, std::uint32_t key_bytes, const KdfSpec& cost) {
  Luks2Keyslot slot;
  slot.id = id;
  slot.type = "luks2";
  slot.key_bytes = key_bytes;
  slot.af_hash = "sha256";
  slot.stripes = kLuksStripes;
  auto salted = with_new_salt(cost);
  if (!salted) return std::move(salted).error();
  slot.kdf = std::move(*salted);
  slot.area.type = "raw";
  slot.area.size = engine::round_up(std::uint64_t{key_bytes} * kLuksStripes, kLuks2AreaUnitBytes);
  const auto crypt = std::find_if(
      metadata.segments.begin(), metadata.segments.end(),
      [](const Luks2Segment& segment) { return segment.type == "crypt" && !segment.is_backup(); });
  if (crypt == metadata.segments.end()) {
    return Error(ErrorCode::kNotSupported, "nothing in this volume is encrypted");
  }
  slot.area.encryption = crypt->encryption;
  slot.area.key_bytes = key_bytes;
  auto offset = find_luks2_area(metadata, header_bytes, slot.area.size);
  if (!offset) return std::move(offset).error();
  slot.area.offset = *offset;
  return slot;
}

Result<std::vector<std::byte>> make_luks2_material(const Luks2Keyslot& slot, Bytes volume_key,
                                                   Bytes secret) {
  auto cipher = engine::parse_cipher_spec(slot.area.encryption);
  if (!cipher) return std::move(cipher).error();
  const LuksKeyArea area{.offset = slot.area.offset,
                         .cipher = std::move(*cipher),
                         .cipher_key_bytes = slot.area.key_bytes,
                         .key_bytes = slot.key_bytes,
                         .stripes = slot.stripes,
                         .af_hash = slot.af_hash};
  return make_luks_area(area, slot.kdf, volume_key, secret, KdfLimits::defaults());
}

}  // namespace latchkey::keyslots
