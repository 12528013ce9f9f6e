#include "keyslots/luks/luks2_metadata.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::uint64_t kTweakUnitBytes = 512;

Error damaged(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

bool contains(const std::vector<unsigned>& list, unsigned wanted) {
  return std::find(list.begin(), list.end(), wanted) != list.end();
}

template <class T>
bool has_id(const std::vector<T>& list, unsigned id) {
  return std::any_of(list.begin(), list.end(), [&](const T& item) { return item.id == id; });
}

Result<void> check_config(const Luks2Metadata& metadata, std::uint64_t header_bytes) {
  if (metadata.json_bytes != header_bytes - kLuks2BinaryBytes) {
    return damaged(fmt::format("config json_size is {} in a header of {} bytes",
                               metadata.json_bytes, header_bytes));
  }
  if (metadata.keyslots_bytes % kLuks2AreaUnitBytes != 0 ||
      metadata.keyslots_bytes > kLuks2MaxKeyslotsBytes) {
    return damaged(fmt::format("config keyslots_size is {}", metadata.keyslots_bytes));
  }
  return {};
}

Result<void> check_keyslot(const Luks2Keyslot& slot) {
  if (slot.type != "luks2") return {};
  if (slot.key_bytes == 0 || slot.key_bytes > kMaxLuksKeyBytes) {
    return damaged(fmt::format("a volume key of {} bytes", slot.key_bytes));
  }
  if (slot.area.type != "raw") {
    return damaged(fmt::format("its area is of type '{}'", engine::printable(slot.area.type)));
  }
  if (slot.area.key_bytes == 0 || slot.area.key_bytes > kMaxLuksKeyBytes) {
    return damaged(fmt::format("an area key of {} bytes", slot.area.key_bytes));
  }
  if (slot.stripes != kLuksStripes) {
    return damaged(fmt::format("{} anti-forensic stripes", slot.stripes));
  }
  const std::uint64_t needed =
      engine::round_up(std::uint64_t{slot.key_bytes} * slot.stripes, kTweakUnitBytes);
  if (slot.area.size < needed) {
    return damaged(fmt::format("its area of {} bytes cannot hold {}", slot.area.size, needed));
  }
  return {};
}

// Areas lie within the key slots area, and do not overlap.
Result<void> check_areas(const Luks2Metadata& metadata, std::uint64_t header_bytes) {
  const std::uint64_t begin = 2 * header_bytes;
  const std::uint64_t end = begin + metadata.keyslots_bytes;
  std::vector<const Luks2Keyslot*> order;
  for (const Luks2Keyslot& slot : metadata.keyslots) {
    const Luks2Area& area = slot.area;
    if (area.offset < begin || area.offset > end || area.size > end - area.offset) {
      return damaged(
          fmt::format("keyslot {}: its area at byte {} with {} bytes leaves the "
                      "keyslots area {} to {}",
                      slot.id, area.offset, area.size, begin, end));
    }
    order.push_back(&slot);
  }
  std::sort(order.begin(), order.end(), [](const Luks2Keyslot* a, const Luks2Keyslot* b) {
    return a->area.offset < b->area.offset;
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const Luks2Area& before = order[i - 1]->area;
    if (order[i]->area.offset < before.offset + before.size) {
      return damaged(fmt::format("keyslots {} and {} overlap", order[i - 1]->id, order[i]->id));
    }
  }
  return {};
}

Result<void> check_segment(const Luks2Segment& segment) {
  if (segment.offset % kTweakUnitBytes != 0) {
    return damaged(fmt::format("an offset of {} bytes", segment.offset));
  }
  if (segment.size && *segment.size % kTweakUnitBytes != 0) {
    return damaged(fmt::format("a size of {} bytes", *segment.size));
  }
  if (segment.type != "crypt") return {};
  const std::uint32_t sector = segment.sector_bytes;
  if (sector < 512 || sector > 4096 || (sector & (sector - 1)) != 0) {
    return damaged(fmt::format("a sector_size of {}", sector));
  }
  if (segment.size && *segment.size % sector != 0) {
    return damaged(fmt::format("a size of {} bytes with {}-byte sectors", *segment.size, sector));
  }
  return {};
}

// The segments that describe the volume now: contiguous, and only the last may be open-ended.
Result<void> check_segments(const Luks2Metadata& metadata) {
  const Luks2Segment* last = nullptr;
  std::uint64_t total = 0;
  for (const Luks2Segment& segment : metadata.segments) {
    if (auto sound = check_segment(segment); !sound) {
      return std::move(sound).error().within(fmt::format("segment {}", segment.id));
    }
    if (segment.is_backup()) continue;
    if (last != nullptr && !last->size) {
      return damaged(fmt::format("segment {} is dynamic but not the last", last->id));
    }
    if (segment.size) {
      if (*segment.size == 0) return damaged(fmt::format("segment {} is empty", segment.id));
      if (*segment.size > UINT64_MAX - total) return damaged("the segments are too long together");
      total += *segment.size;
    }
    last = &segment;
  }
  if (last == nullptr) return damaged("there is no segment");
  return {};
}

Result<void> check_digests(const Luks2Metadata& metadata) {
  for (const Luks2Digest& digest : metadata.digests) {
    for (const unsigned slot : digest.keyslots) {
      if (!has_id(metadata.keyslots, slot)) {
        return damaged(
            fmt::format("digest {} names keyslot {}, which is not there", digest.id, slot));
      }
    }
    for (const unsigned segment : digest.segments) {
      if (!has_id(metadata.segments, segment)) {
        return damaged(
            fmt::format("digest {} names segment {}, which is not there", digest.id, segment));
      }
    }
  }
  return {};
}

}  // namespace

bool Luks2Segment::has_flag(std::string_view flag) const {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

bool Luks2Segment::is_backup() const {
  return std::any_of(flags.begin(), flags.end(),
                     [](const std::string& flag) { return flag.starts_with("backup-"); });
}

const Luks2Digest* Luks2Metadata::digest_of_segment(unsigned segment) const {
  for (const Luks2Digest& digest : digests) {
    if (contains(digest.segments, segment)) return &digest;
  }
  return nullptr;
}

const Luks2Digest* Luks2Metadata::digest_of_keyslot(unsigned keyslot) const {
  for (const Luks2Digest& digest : digests) {
    if (contains(digest.keyslots, keyslot)) return &digest;
  }
  return nullptr;
}

const Luks2Segment* Luks2Metadata::segment_flagged(std::string_view flag) const {
  for (const Luks2Segment& segment : segments) {
    if (segment.has_flag(flag)) return &segment;
  }
  return nullptr;
}

const Luks2Keyslot* Luks2Metadata::reencrypt_keyslot() const {
  for (const Luks2Keyslot& slot : keyslots) {
    if (slot.type == "reencrypt") return &slot;
  }
  return nullptr;
}

bool Luks2Metadata::requires_feature(std::string_view name) const {
  return std::find(requirements.begin(), requirements.end(), name) != requirements.end();
}

Result<void> check_luks2_metadata(const Luks2Metadata& metadata, std::uint64_t header_bytes) {
  if (auto sound = check_config(metadata, header_bytes); !sound) return sound;
  for (const Luks2Keyslot& slot : metadata.keyslots) {
    if (slot.id >= kLuks2MaxSlots) return damaged(fmt::format("keyslot number {}", slot.id));
    if (auto sound = check_keyslot(slot); !sound) {
      return std::move(sound).error().within(fmt::format("keyslot {}", slot.id));
    }
  }
  if (auto sound = check_areas(metadata, header_bytes); !sound) return sound;
  if (auto sound = check_segments(metadata); !sound) return sound;
  return check_digests(metadata);
}

}  // namespace latchkey::keyslots
