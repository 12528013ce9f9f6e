#include "keyslots/luks/luks2_reencrypt.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "keyslots/luks/luks2_segments.h"
#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::string_view kRequirement = "online-reencrypt";

Error damaged_reencryption(const std::string& what) {
  return {ErrorCode::kDamaged, "re-encryption: " + what};
}
Error unsupported(const std::string& what) {
  return {ErrorCode::kNotSupported, "re-encryption: " + what};
}

bool lists(const std::vector<unsigned>& ids, unsigned id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), text) != known.end();
}

Result<int> version_of(const Luks2Metadata& metadata) {
  if (metadata.requires_feature("online-reencrypt-v2")) return 2;
  if (metadata.requires_feature("online-reencrypt-v3")) return 3;
  if (metadata.requires_feature(kRequirement)) {
    return unsupported(
        "its record is of the first version, which cannot be verified; `cryptsetup repair` turns "
        "it into one that can");
  }
  return unsupported("its record is of a version that is not supported");
}

Result<void> check_slot(const Luks2Keyslot& slot) {
  if (!is_one_of(slot.mode, {"reencrypt", "encrypt", "decrypt"})) {
    return damaged_reencryption(fmt::format("mode '{}'", engine::printable(slot.mode)));
  }
  if (!is_one_of(slot.direction, {"forward", "backward"})) {
    return damaged_reencryption(fmt::format("direction '{}'", engine::printable(slot.direction)));
  }
  if (slot.area.type == "none") {
    return unsupported(
        "it runs without protection against interruptions, so how far it got is not known: "
        "let `cryptsetup reencrypt` finish it where it was started");
  }
  if (!is_one_of(slot.area.type,
                 {"checksum", "journal", "datashift", "datashift-checksum", "datashift-journal"})) {
    return unsupported(
        fmt::format("protection '{}' is not supported", engine::printable(slot.area.type)));
  }
  return {};
}

// What the volume was and will be, by mode.
Result<void> check_ends(const Luks2Metadata& metadata, const Luks2Reencryption& state) {
  const std::string& mode = state.slot->mode;
  const std::string_view was = mode == "encrypt" ? "linear" : "crypt";
  const std::string_view becomes = mode == "decrypt" ? "linear" : "crypt";
  if (state.previous->type != was || state.final->type != becomes) {
    return damaged_reencryption(fmt::format("mode '{}' with segments of type '{}' and '{}'", mode,
                                            engine::printable(state.previous->type),
                                            engine::printable(state.final->type)));
  }
  for (const auto& [segment, digest] :
       {std::pair(state.previous, state.old_digest), std::pair(state.final, state.new_digest)}) {
    if (segment->type != "crypt") continue;
    if (auto why = why_luks2_segment_unusable(metadata, *segment, digest); !why.empty()) {
      return Error(ErrorCode::kNotSupported, why);
    }
  }
  if (state.moved != nullptr && (state.moved->type != was || !state.moved->size)) {
    return damaged_reencryption("the moved segment is not a part of the old volume");
  }
  return {};
}

// Is `segment`, which begins `start` bytes into the volume, that part of `whole`?
bool is_part_of(const Luks2Segment& segment, std::uint64_t start, const Luks2Segment& whole) {
  if (segment.type != whole.type || segment.offset != whole.offset + start) return false;
  return segment.type != "crypt" ||
         (segment.iv_tweak == whole.iv_tweak + start / kLuks2TweakUnitBytes &&
          segment.encryption == whole.encryption && segment.sector_bytes == whole.sector_bytes &&
          segment.integrity == whole.integrity);
}

bool has_key(const Luks2Segment& segment, const Luks2Digest* digest) {
  return segment.type != "crypt" || (digest != nullptr && lists(digest->segments, segment.id));
}

bool is_in_moved(const Luks2Reencryption& state, std::uint64_t start) {
  return state.moved != nullptr && start < *state.moved->size;
}

bool is_old(const Luks2Reencryption& state, const Luks2Segment& segment, std::uint64_t start) {
  const Luks2Segment& whole = is_in_moved(state, start) ? *state.moved : *state.previous;
  return is_part_of(segment, start, whole) && has_key(segment, state.old_digest);
}

bool is_new(const Luks2Reencryption& state, const Luks2Segment& segment, std::uint64_t start) {
  return is_part_of(segment, start, *state.final) && has_key(segment, state.new_digest);
}

// The record is verified with the keys, the list of active segments is not: it changes at every
// step. So each is held against the two volumes it can be a part of.
Result<void> check_active(const Luks2Metadata& metadata, Luks2Reencryption& state) {
  std::uint64_t start = 0;
  for (const Luks2Segment& segment : metadata.segments) {
    if (segment.is_backup()) continue;
    const bool hot = segment.has_flag("in-reencryption");
    if (hot && (state.hot != nullptr || !segment.size))
      return damaged_reencryption("its hot zone is unclear");
    if (hot) state.hot = &segment;
    // Only a hot segment is of both keys.
    if (!hot && state.old_digest != state.new_digest && segment.type == "crypt" &&
        has_key(segment, state.old_digest) && has_key(segment, state.new_digest)) {
      return damaged_reencryption(
          fmt::format("segment {} is of both the old and the new key", segment.id));
    }
    if (!is_new(state, segment, start) && (hot || !is_old(state, segment, start))) {
      return damaged_reencryption(
          fmt::format("segment {} belongs neither to the old nor to the new volume", segment.id));
    }
    start += segment.size.value_or(0);
  }
  return {};
}

// Which volume keys it takes to read the active segments and, where there is a choice between old
// and new, to verify the record.
void choose_keys(const Luks2Metadata& metadata, Luks2Reencryption& state) {
  bool all_old = state.hot == nullptr && state.old_digest != nullptr;
  bool all_new = state.hot == nullptr && state.new_digest != nullptr;
  std::uint64_t start = 0;
  for (const Luks2Segment& segment : metadata.segments) {
    if (segment.is_backup()) continue;
    all_old = all_old && is_old(state, segment, start);
    all_new = all_new && is_new(state, segment, start);
    start += segment.size.value_or(0);
  }
  all_new = all_new && !all_old;
  if (state.old_digest != nullptr && !all_new) state.keys.push_back(state.old_digest);
  const bool differs = state.new_digest != state.old_digest || state.keys.empty();
  if (state.new_digest != nullptr && !all_old && differs) state.keys.push_back(state.new_digest);
}

bool has_all_keys(const Luks2Reencryption& state) {
  const auto has = [&](const Luks2Digest* digest) {
    return digest == nullptr ||
           std::find(state.keys.begin(), state.keys.end(), digest) != state.keys.end();
  };
  return has(state.old_digest) && has(state.new_digest);
}

// A message as cryptsetup digests it: texts without their end, integers big-endian.
class Message {
 public:
  void text(std::string_view value) {
    const auto bytes = engine::as_bytes(value);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  template <class T>
  void number(T value) {
    std::array<std::byte, sizeof(T)> encoded{};
    engine::store_be(encoded, 0, value);
    bytes_.insert(bytes_.end(), encoded.begin(), encoded.end());
  }
  void segment(const Luks2Segment& segment) {
    text(segment.type);
    number(segment.offset);
    if (segment.size) {
      number(*segment.size);
    } else {
      text("dynamic");
    }
    if (segment.type != "crypt") return;
    number(segment.iv_tweak);
    text(segment.encryption);
    number(segment.sector_bytes);
  }
  void slot(const Luks2Keyslot& slot) {
    text(slot.mode);
    text(slot.direction);
    text(slot.area.type);
    number(slot.area.offset);
    number(slot.area.size);
    if (slot.area.type == "checksum" || slot.area.type == "datashift-checksum") {
      text(slot.area.hash);
      number(slot.area.sector_bytes);
    }
    if (slot.area.shift_bytes) number(*slot.area.shift_bytes);
  }
  engine::Bytes bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

engine::SecretBytes joined(const std::string& tag, const std::vector<engine::SecretBytes>& keys,
                           engine::Bytes tail) {
  std::size_t size = tag.size() + tail.size();
  for (const auto& key : keys) size += key.size();
  engine::SecretBytes out(size);
  std::byte* at = out.data();
  const auto append = [&](engine::Bytes part) { at = std::copy(part.begin(), part.end(), at); };
  append(engine::as_bytes(tag));
  for (const auto& key : keys) append(key.span());
  append(tail);
  return out;
}

}  // namespace

bool is_under_reencryption(const Luks2Metadata& metadata) {
  return std::any_of(metadata.requirements.begin(), metadata.requirements.end(),
                     [](const std::string& name) { return name.starts_with(kRequirement); });
}

Result<Luks2Reencryption> understand_reencryption(const Luks2Metadata& metadata) {
  Luks2Reencryption state;
  auto version = version_of(metadata);
  if (!version) return std::move(version).error();
  state.version = *version;
  state.slot = metadata.reencrypt_keyslot();
  state.previous = metadata.segment_flagged("backup-previous");
  state.final = metadata.segment_flagged("backup-final");
  state.moved = metadata.segment_flagged("backup-moved-segment");
  if (state.slot == nullptr || state.previous == nullptr || state.final == nullptr) {
    return damaged_reencryption("its key slot or its backup segments are missing");
  }
  state.old_digest = metadata.digest_of_segment(state.previous->id);
  state.new_digest = metadata.digest_of_segment(state.final->id);
  if (auto sound = check_slot(*state.slot); !sound) return std::move(sound).error();
  if (auto sound = check_ends(metadata, state); !sound) return std::move(sound).error();
  if (auto sound = check_active(metadata, state); !sound) return std::move(sound).error();
  choose_keys(metadata, state);
  return state;
}

std::string describe_reencryption(const Luks2Metadata& metadata, const Luks2Reencryption& state,
                                  std::uint64_t volume_bytes) {
  std::uint64_t done = 0;
  std::uint64_t start = 0;
  for (const Luks2Segment& segment : metadata.segments) {
    if (segment.is_backup()) continue;
    const std::uint64_t length =
        segment.size.value_or(volume_bytes > start ? volume_bytes - start : 0);
    if (&segment != state.hot && is_new(state, segment, start)) done += length;
    start += length;
  }
  const std::string& mode = state.slot->mode;
  const double percent =
      volume_bytes == 0 ? 0 : 100.0 * static_cast<double>(done) / static_cast<double>(volume_bytes);
  return fmt::format("{}, {}, {:.0f}% done{}", mode == "reencrypt" ? "re-encryption" : mode + "ion",
                     state.slot->direction, percent,
                     state.hot != nullptr ? ", stopped inside a step" : "");
}

Result<void> verify_reencryption(const Luks2Metadata& metadata, const Luks2Reencryption& state,
                                 const std::vector<engine::SecretBytes>& keys,
                                 const KdfLimits& limits) {
  if (!has_all_keys(state)) return {};
  const Luks2Digest* digest = metadata.digest_of_keyslot(state.slot->id);
  if (digest == nullptr || digest->type != "pbkdf2")
    return damaged_reencryption("its record has no digest");
  Message message;
  message.slot(*state.slot);
  message.segment(*state.previous);
  message.segment(*state.final);
  if (state.moved != nullptr) message.segment(*state.moved);
  const auto whole = joined(fmt::format("v{}", state.version), keys, message.bytes());
  auto fits = luks_digest_matches(digest->kdf, whole.span(), digest->digest, limits);
  if (!fits) return std::move(fits).error().within("re-encryption");
  if (!*fits) {
    return damaged_reencryption(
        "its record does not agree with the keys: it was damaged or tampered with");
  }
  return {};
}

}  // namespace latchkey::keyslots
