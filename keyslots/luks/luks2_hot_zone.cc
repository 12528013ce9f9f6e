// Where the bytes of a volume under re-encryption are: the map, and inside the hot segment the
// question, block by block, of old or new.
#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/digest.h"
#include "keyslots/luks/luks2_reencrypt.h"
#include "keyslots/luks/luks2_segments.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::size_t kReadPieceBytes = std::size_t{1} << 20;
constexpr std::uint32_t kMaxBlockBytes = 64 * 1024;

Error damaged_zone(const std::string& what) {
  return {ErrorCode::kDamaged, "re-encryption: " + what};
}

// Builds layers and map side by side.
class Builder {
 public:
  Builder(const Luks2Reencryption& state, UnlockedVolume& volume)
      : state_(state), volume_(volume) {}

  // Adds a layer and returns its index. `cipher_of` gives cipher and key; `skipped` is how far into
  // that segment the layer's first byte lies.
  Result<std::size_t> layer(Layer::Source source, std::uint64_t offset, std::uint64_t length,
                            const Luks2Segment& cipher_of, std::uint64_t skipped, bool is_new) {
    Layer layer{.source = source, .offset = offset, .length = length, .cipher = {}, .key = 0};
    if (cipher_of.type == "crypt") {
      auto cipher = luks2_cipher_of(cipher_of, skipped);
      if (!cipher) return std::move(cipher).error();
      layer.cipher = std::move(*cipher);
      const Luks2Digest* digest = is_new ? state_.new_digest : state_.old_digest;
      const auto key = std::find(state_.keys.begin(), state_.keys.end(), digest);
      if (key == state_.keys.end()) return damaged_zone("a key that is needed was not asked for");
      layer.key = static_cast<std::size_t>(key - state_.keys.begin());
    }
    volume_.layers.push_back(std::move(layer));
    return volume_.layers.size() - 1;
  }

  void piece(std::size_t layer, std::uint64_t offset, std::uint64_t length) {
    volume_.map->data(layer, offset, length);
  }

 private:
  const Luks2Reencryption& state_;
  UnlockedVolume& volume_;
};

// The hot segment and the places its old bytes may be at.
struct HotZone {
  std::uint64_t start = 0;   // in the volume
  std::uint64_t offset = 0;  // in the data device, of the new bytes
  std::uint64_t length = 0;
  const Luks2Segment* old_whole = nullptr;  // what the old bytes are a part of
  std::uint64_t old_offset = 0;             // where they were
};

bool overlap(std::uint64_t a, std::uint64_t b, std::uint64_t length) {
  return a < b ? b - a < length : a - b < length;
}

Result<HotZone> hot_zone(const Luks2Reencryption& state, std::uint64_t start) {
  HotZone zone{.start = start,
               .offset = state.hot->offset,
               .length = *state.hot->size,
               .old_whole = state.previous,
               .old_offset = 0};
  if (state.moved != nullptr && start < *state.moved->size) {
    if (zone.length > *state.moved->size - start) return damaged_zone("its hot zone is unclear");
    zone.old_whole = state.moved;
  }
  zone.old_offset = zone.old_whole->offset + start;
  return zone;
}

// Which protection covers the hot zone: the head of a volume whose data moves is rewritten in place
// and has one of its own.
std::string_view protection_of(const Luks2Reencryption& state, const HotZone& zone) {
  const std::string_view type = state.slot->area.type;
  constexpr std::string_view kCombined = "datashift-";
  if (!type.starts_with(kCombined)) return type;
  return zone.start == 0 && state.moved != nullptr ? type.substr(kCombined.size()) : "datashift";
}

Result<void> use_datashift(Builder& builder, const HotZone& zone) {
  if (overlap(zone.old_offset, zone.offset, zone.length)) {
    return damaged_zone("its hot zone has been written over the old data");
  }
  auto old_layer = builder.layer(Layer::Source::kData, zone.old_offset, zone.length,
                                 *zone.old_whole, zone.start, false);
  if (!old_layer) return std::move(old_layer).error();
  builder.piece(*old_layer, 0, zone.length);
  return {};
}

// The whole zone is in the journal, as it was before the step began.
Result<void> use_journal(Builder& builder, const HotZone& zone, const Luks2Area& area) {
  if (area.size < zone.length) return damaged_zone("its journal is shorter than its hot zone");
  auto old_layer = builder.layer(Layer::Source::kHeader, area.offset, zone.length, *zone.old_whole,
                                 zone.start, false);
  if (!old_layer) return std::move(old_layer).error();
  builder.piece(*old_layer, 0, zone.length);
  return {};
}

Result<void> check_blocks(const HotZone& zone, const Luks2Area& area, std::size_t digest_bytes,
                          const Luks2Reencryption& state) {
  const std::uint32_t block = area.sector_bytes;
  const bool sound = block >= 512 && block <= kMaxBlockBytes && (block & (block - 1)) == 0 &&
                     block >= state.previous->sector_bytes && block >= state.final->sector_bytes;
  if (!sound || zone.length % block != 0) {
    return damaged_zone(fmt::format("{} bytes in checksummed blocks of {}", zone.length, block));
  }
  if (zone.length / block > area.size / digest_bytes) {
    return damaged_zone("its checksums do not cover its hot zone");
  }
  if (zone.old_offset != zone.offset) return damaged_zone("checksums of data that moved");
  return {};
}

// A block whose hash is the recorded one has not been rewritten. Consecutive blocks of one kind
// become one piece.
Result<void> use_checksums(Builder& builder, const VolumeSource& source, const HotZone& zone,
                           const Luks2Reencryption& state) {
  const Luks2Area& area = state.slot->area;
  auto digest = Digest::find(area.hash);
  if (!digest) return std::move(digest).error().within("re-encryption");
  const std::size_t digest_bytes = digest->size_bytes();
  if (auto sound = check_blocks(zone, area, digest_bytes, state); !sound) return sound;
  const std::uint32_t block = area.sector_bytes;
  auto recorded = engine::read_bytes(*source.header_device(), area.offset,
                                     zone.length / block * digest_bytes, "re-encryption checksums");
  if (!recorded) return std::move(recorded).error();

  auto old_layer = builder.layer(Layer::Source::kData, zone.offset, zone.length, *zone.old_whole,
                                 zone.start, false);
  auto new_layer =
      builder.layer(Layer::Source::kData, zone.offset, zone.length, *state.final, zone.start, true);
  if (!old_layer) return std::move(old_layer).error();
  if (!new_layer) return std::move(new_layer).error();

  Hasher hasher(*digest);
  std::array<std::byte, kMaxDigestBytes> computed{};
  std::vector<std::byte> piece(std::min<std::uint64_t>(kReadPieceBytes, zone.length));
  std::uint64_t run_start = 0;
  bool run_is_old = false;
  for (std::uint64_t at = 0; at < zone.length; at += block) {
    const std::uint64_t in_piece = at % kReadPieceBytes;
    if (in_piece == 0) {
      const auto part =
          std::span(piece).first(std::min<std::uint64_t>(piece.size(), zone.length - at));
      if (auto r = engine::read_bytes(*source.data, zone.offset + at, part, "hot zone"); !r)
        return r;
    }
    const auto sum = std::span(computed).first(digest_bytes);
    if (!hasher.hash({engine::Bytes(piece).subspan(in_piece, block)}, sum)) {
      return Error(ErrorCode::kSystem, "hashing the hot zone failed inside OpenSSL");
    }
    const bool old =
        std::memcmp(sum.data(), recorded->data() + at / block * digest_bytes, digest_bytes) == 0;
    if (at > 0 && old != run_is_old) {
      builder.piece(run_is_old ? *old_layer : *new_layer, run_start, at - run_start);
      run_start = at;
    }
    run_is_old = old;
  }
  builder.piece(run_is_old ? *old_layer : *new_layer, run_start, zone.length - run_start);
  return {};
}

Result<void> add_hot_zone(Builder& builder, const VolumeSource& source,
                          const Luks2Reencryption& state, std::uint64_t start) {
  auto zone = hot_zone(state, start);
  if (!zone) return std::move(zone).error();
  const std::string_view protection = protection_of(state, *zone);
  if (protection == "checksum") return use_checksums(builder, source, *zone, state);
  if (protection == "journal") return use_journal(builder, *zone, state.slot->area);
  return use_datashift(builder, *zone);
}

bool uses_new_key(const Luks2Reencryption& state, const Luks2Segment& segment) {
  const Luks2Digest* digest = state.new_digest;
  return digest != nullptr && std::find(digest->segments.begin(), digest->segments.end(),
                                        segment.id) != digest->segments.end();
}

}  // namespace

Result<UnlockedVolume> reencryption_layout(const VolumeSource& source,
                                           const Luks2Metadata& metadata,
                                           const Luks2Reencryption& state,
                                           std::uint64_t volume_bytes) {
  UnlockedVolume volume;
  volume.map = std::make_unique<engine::PieceMap>();
  volume.sector_bytes = std::max({512U, state.previous->sector_bytes, state.final->sector_bytes});
  volume.read_only_reason =
      "a re-encryption of the volume has not been finished: `cryptsetup reencrypt --resume-only` "
      "finishes it";
  Builder builder(state, volume);
  std::uint64_t start = 0;
  for (const Luks2Segment& segment : metadata.segments) {
    if (segment.is_backup()) continue;
    if (start >= volume_bytes) break;
    if (&segment == state.hot) {
      if (auto added = add_hot_zone(builder, source, state, start); !added) {
        return std::move(added).error();
      }
      start += *segment.size;
      continue;
    }
    const std::uint64_t rest = volume_bytes - start;
    const std::uint64_t length = std::min(segment.size.value_or(rest), rest);
    auto layer = builder.layer(Layer::Source::kData, segment.offset, length, segment, 0,
                               uses_new_key(state, segment));
    if (!layer) return std::move(layer).error();
    builder.piece(*layer, 0, length);
    start += length;
  }
  return volume;
}

}  // namespace latchkey::keyslots
