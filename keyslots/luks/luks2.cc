#include "keyslots/luks/luks2.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_header.h"
#include "keyslots/luks/luks2_segments.h"
#include "keyslots/luks/luks2_volume.h"
#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr const char* kWhere = "luks2 header";

// A slot whose area names an unknown cipher keeps it by name: why_area_unusable() says so later.
LuksKeyArea area_of(const Luks2Keyslot& slot, engine::CipherSpec cipher) {
  return {.offset = slot.area.offset,
          .cipher = std::move(cipher),
          .cipher_key_bytes = slot.area.key_bytes,
          .key_bytes = slot.key_bytes,
          .stripes = slot.stripes,
          .af_hash = slot.af_hash};
}

std::string why_requirement_unusable(const std::string& name) {
  if (name.starts_with("online-reencrypt")) return "";  // understood, or refused, on its own
  if (name == "offline-reencrypt") {
    return "an offline re-encryption is under way: finish it with the cryptsetup-reencrypt that "
           "began it";
  }
  return fmt::format("the header requires '{}', which is not supported", engine::printable(name));
}

// LUKS1 has been tried, and there is not enough of LUKS2: what is left is a LUKS that was cut
// short, or one of the future.
Result<void> refuse_other_luks(engine::BlockDevice& device) {
  std::array<std::byte, 8> start{};
  if (!device.in_range(0, start.size())) return {};
  if (auto r = engine::read_bytes(device, 0, start, "volume header"); !r) return r;
  if (!engine::starts_with(start, 0, kLuksMagic)) return {};
  const auto version = engine::load_be<std::uint16_t>(start, 6);
  if (version == 1 || version == 2) {
    return Error(ErrorCode::kDamaged, "luks header: the device ends inside it");
  }
  return Error(ErrorCode::kNotSupported,
               fmt::format("luks header: version {} is not supported", version));
}

}  // namespace

Luks2Volume::Luks2Volume(VolumeSource source, Luks2Header header, engine::Notices& notices)
    : source_(std::move(source)), header_(std::move(header)) {
  for (const Luks2Segment& segment : metadata().segments) {
    if (!segment.is_backup()) active_.push_back(&segment);
  }
  const auto is_ciphered = [](const Luks2Segment& segment) { return segment.type == "crypt"; };
  main_ = active_.front();
  // Ciphered if anything is, now or before or after what is under way.
  for (const Luks2Segment& segment : metadata().segments) {
    if (is_ciphered(segment) && !is_ciphered(*main_)) main_ = &segment;
  }
  facts_.format = "LUKS2";
  facts_.cipher = engine::printable(main_->encryption);
  facts_.sector_bytes = std::max(main_->sector_bytes, 512U);
  for (const Luks2Segment* segment : active_) {
    sector_bytes_ = std::max(sector_bytes_, segment->sector_bytes);
  }
  facts_.uuid = header_.uuid;
  facts_.label = header_.label;
  facts_.detached = source_.header != nullptr;
  facts_.unusable = why_unusable();
  choose_digests();
  if (!key_digests_.empty()) {
    facts_.key_bits = 8 * luks2_key_bytes_of(metadata(), *key_digests_.front());
  }
  describe_payload(notices);
  list_protectors();
}

void Luks2Volume::choose_digests() {
  if (reencryption_) {
    key_digests_ = reencryption_->keys;
  } else if (const Luks2Digest* digest = metadata().digest_of_segment(main_->id)) {
    key_digests_.push_back(digest);
  }
}

// Also finds out about a re-encryption, which decides what makes a volume unusable.
std::string Luks2Volume::why_unusable() {
  for (const std::string& name : metadata().requirements) {
    if (std::string why = why_requirement_unusable(name); !why.empty()) return why;
  }
  if (is_under_reencryption(metadata())) {
    auto state = understand_reencryption(metadata());
    if (!state) {
      facts_.state = "re-encryption under way";
      return state.error().message();
    }
    reencryption_ = std::move(*state);
    return "";
  }
  if (active_.size() != 1) {
    return fmt::format("{} segments without a re-encryption are not supported", active_.size());
  }
  return why_luks2_segment_unusable(metadata(), *main_, metadata().digest_of_segment(main_->id));
}

void Luks2Volume::describe_payload(engine::Notices& notices) {
  const std::uint64_t header_end = 2 * header_.header_bytes + metadata().keyslots_bytes;
  std::uint64_t lowest = UINT64_MAX;
  for (const Luks2Segment* segment : active_) lowest = std::min(lowest, segment->offset);
  facts_.payload_offset = lowest;
  if (!facts_.detached && lowest < header_end) {
    facts_.unusable = lowest == 0 ? "this is a detached header: open the image that has the data, "
                                    "and name this file with "
                                    "--header"
                                  : fmt::format(
                                        "the payload at byte {} overlaps the header, which ends "
                                        "at byte {}",
                                        lowest, header_end);
    return;
  }
  // All but the last have a size and must be there: what comes after them would else move.
  for (const Luks2Segment* segment : active_) {
    if (segment == active_.back()) break;
    if (!source_.data->in_range(segment->offset, *segment->size)) {
      facts_.unusable = fmt::format("segment {} lies beyond the end of the device", segment->id);
      return;
    }
    facts_.payload_bytes += *segment->size;
  }
  const Luks2Segment& last = *active_.back();
  const std::uint64_t available =
      luks_payload_bytes(*source_.data, last.offset, sector_bytes_, kWhere, notices);
  if (last.size && available < *last.size) {
    notices.warn(kWhere, fmt::format("the payload is {} bytes long, the device holds {} of them",
                                     *last.size, available));
    if (reencryption_ && reencryption_->hot == &last) {
      facts_.unusable = "the hot zone of a re-encryption lies beyond the end of the device";
    }
  }
  facts_.payload_bytes += std::min(available, last.size.value_or(available));
  if (reencryption_) {
    facts_.state = describe_reencryption(metadata(), *reencryption_, facts_.payload_bytes);
  }
}

std::string Luks2Volume::why_slot_unusable(const Luks2Keyslot& slot) const {
  if (slot.type != "luks2") {
    return fmt::format("keyslot type '{}' is not supported", engine::printable(slot.type));
  }
  const Luks2Digest* digest = metadata().digest_of_keyslot(slot.id);
  if (std::find(key_digests_.begin(), key_digests_.end(), digest) == key_digests_.end()) {
    const bool other_side = reencryption_ && (digest == reencryption_->old_digest ||
                                              digest == reencryption_->new_digest);
    return digest != nullptr && other_side
               ? "its key is not needed in this state of the re-encryption"
               : "unbound: its key is not for this volume";
  }
  auto cipher = engine::parse_cipher_spec(slot.area.encryption);
  if (!cipher) return cipher.error().message();
  return why_area_unusable(area_of(slot, std::move(*cipher)), slot.kdf);
}

void Luks2Volume::list_protectors() {
  for (const Luks2Keyslot& slot : metadata().keyslots) {
    if (slot.type == "reencrypt") continue;  // holds no key
    const Luks2Digest* digest = metadata().digest_of_keyslot(slot.id);
    const auto opens = std::find(key_digests_.begin(), key_digests_.end(), digest);
    protectors_.push_back(
        {.number = slot.id,
         .label = fmt::format("keyslot {}", slot.id),
         .description = slot.type == "luks2" ? slot.kdf.describe() : engine::printable(slot.type),
         .takes = {SecretKind::kPassphrase, SecretKind::kKeyFile},
         .priority = slot.priority,
         .opens =
             opens == key_digests_.end() ? 0U : static_cast<unsigned>(opens - key_digests_.begin()),
         .unusable = why_slot_unusable(slot)});
  }
}

Result<SecretBytes> Luks2Volume::try_secret(const Protector& protector, const Secret& secret,
                                            const KdfLimits& limits) const {
  const auto& slots = metadata().keyslots;
  const auto slot = std::find_if(slots.begin(), slots.end(), [&](const Luks2Keyslot& candidate) {
    return candidate.id == protector.number && candidate.type == "luks2";
  });
  if (slot == slots.end()) return Error(ErrorCode::kUsage, "there is no such keyslot");
  auto cipher = engine::parse_cipher_spec(slot->area.encryption);
  if (!cipher) return std::move(cipher).error();
  auto key = open_luks_area(*source_.header_device(), area_of(*slot, std::move(*cipher)), slot->kdf,
                            secret.bytes.span(), limits);
  if (!key) return key;
  const Luks2Digest* digest = metadata().digest_of_keyslot(slot->id);
  if (digest == nullptr || digest->type != "pbkdf2") {
    return Error(ErrorCode::kNotSupported, "its key cannot be verified");
  }
  auto fits = luks_digest_matches(digest->kdf, key->span(), digest->digest, limits);
  if (!fits) return std::move(fits).error();
  if (!*fits) return Error(ErrorCode::kWrongKey, "the key does not fit");
  return key;
}

Result<UnlockedVolume> Luks2Volume::layout(std::vector<SecretBytes> keys) const {
  if (!facts_.unusable.empty()) return Error(ErrorCode::kNotSupported, facts_.unusable);
  if (reencryption_) return layout_under_reencryption(std::move(keys));
  UnlockedVolume volume;
  volume.keys = std::move(keys);
  volume.sector_bytes = facts_.sector_bytes;
  volume.map = std::make_unique<engine::PieceMap>();
  auto cipher = luks2_cipher_of(*main_);
  if (!cipher) return std::move(cipher).error();
  if (facts_.payload_bytes > 0) {
    volume.layers.push_back({.source = Layer::Source::kData,
                             .offset = facts_.payload_offset,
                             .length = facts_.payload_bytes,
                             .cipher = std::move(*cipher),
                             .key = 0});
    volume.map->data(0, 0, facts_.payload_bytes);
  }
  return volume;
}

Result<UnlockedVolume> Luks2Volume::layout_under_reencryption(std::vector<SecretBytes> keys) const {
  if (auto verified = verify_reencryption(metadata(), *reencryption_, keys, KdfLimits::defaults());
      !verified) {
    return std::move(verified).error();
  }
  auto volume = reencryption_layout(source_, metadata(), *reencryption_, facts_.payload_bytes);
  if (volume) volume->keys = std::move(keys);
  return volume;
}

Result<std::unique_ptr<VolumeHeader>> open_luks2(const VolumeSource& source,
                                                 engine::Notices& notices) {
  auto header = read_luks2_header(*source.header_device(), notices);
  if (!header) return std::move(header).error();
  if (!*header) {
    if (auto known = refuse_other_luks(*source.header_device()); !known) {
      return std::move(known).error();
    }
    return std::unique_ptr<VolumeHeader>();
  }
  return std::unique_ptr<VolumeHeader>(
      std::make_unique<Luks2Volume>(source, std::move(**header), notices));
}

}  // namespace latchkey::keyslots
