#include "keyslots/luks2.h"

#include <algorithm>

#include <fmt/format.h>

#include "keyslots/luks2_volume.h"
#include "keyslots/luks_area.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr const char* kWhere = "luks2 header";

std::uint32_t key_bytes_of(const Luks2Metadata& metadata, const Luks2Digest& digest) {
  for (const unsigned id : digest.keyslots) {
    for (const Luks2Keyslot& slot : metadata.keyslots) {
      if (slot.id == id && slot.type == "luks2") return slot.key_bytes;
    }
  }
  return 0;
}

// The cipher of a segment checked by check_luks2_metadata(). Tweaks count in 512-byte units
// whatever the sector size.
Result<engine::CipherSpec> cipher_of(const Luks2Segment& segment) {
  auto spec = engine::parse_cipher_spec(segment.encryption);
  if (!spec) return spec;
  spec->sector_bytes = segment.sector_bytes;
  spec->first_tweak = segment.iv_tweak;
  spec->tweak_stride = segment.sector_bytes / 512;
  return spec;
}

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
  if (name == "offline-reencrypt") {
    return "an offline re-encryption is under way: finish it with the cryptsetup-reencrypt that "
           "began it";
  }
  return fmt::format("the header requires '{}', which is not supported", engine::printable(name));
}

std::string why_segment_unusable(const Luks2Metadata& metadata, const Luks2Segment& segment) {
  if (segment.type != "crypt") {
    return fmt::format("segment {} is of type '{}', which is not supported", segment.id,
                       engine::printable(segment.type));
  }
  if (!segment.integrity.empty()) {
    return fmt::format(
        "integrity protection '{}' is not supported: its tags are kept by the "
        "kernel's dm-integrity",
        engine::printable(segment.integrity));
  }
  const Luks2Digest* digest = metadata.digest_of_segment(segment.id);
  if (digest == nullptr) return fmt::format("segment {} has no key digest", segment.id);
  if (digest->type != "pbkdf2") {
    return fmt::format("key digest '{}' is not supported", engine::printable(digest->type));
  }
  auto cipher = cipher_of(segment);
  if (!cipher) return cipher.error().message();
  // Without a key slot there is no telling the key's size, and no way in either.
  const std::uint32_t key_bytes = key_bytes_of(metadata, *digest);
  return key_bytes == 0 ? "" : why_cipher_unusable(*cipher, key_bytes);
}

}  // namespace

Luks2Volume::Luks2Volume(VolumeSource source, Luks2Header header, engine::Notices& notices)
    : source_(std::move(source)), header_(std::move(header)) {
  for (const Luks2Segment& segment : metadata().segments) {
    if (!segment.is_backup()) active_.push_back(&segment);
  }
  const auto ciphered = std::find_if(active_.begin(), active_.end(),
                                     [](const auto* segment) { return segment->type == "crypt"; });
  main_ = ciphered == active_.end() ? active_.front() : *ciphered;
  facts_.format = "LUKS2";
  facts_.cipher = engine::printable(main_->encryption);
  facts_.sector_bytes = std::max(main_->sector_bytes, 512U);
  facts_.uuid = header_.uuid;
  facts_.label = header_.label;
  facts_.detached = source_.header != nullptr;
  choose_digests();
  if (!key_digests_.empty()) facts_.key_bits = 8 * key_bytes_of(metadata(), *key_digests_.front());
  facts_.unusable = why_unusable();
  describe_payload(notices);
  list_protectors();
}

void Luks2Volume::choose_digests() {
  if (const Luks2Digest* digest = metadata().digest_of_segment(main_->id)) {
    key_digests_.push_back(digest);
  }
}

std::string Luks2Volume::why_unusable() const {
  for (const std::string& name : metadata().requirements) {
    if (std::string why = why_requirement_unusable(name); !why.empty()) return why;
  }
  if (active_.size() != 1) {
    return fmt::format("{} segments without a re-encryption are not supported", active_.size());
  }
  return why_segment_unusable(metadata(), *main_);
}

void Luks2Volume::describe_payload(engine::Notices& notices) {
  facts_.payload_offset = main_->offset;
  const std::uint64_t header_end = 2 * header_.header_bytes + metadata().keyslots_bytes;
  if (!facts_.detached && main_->offset < header_end) {
    facts_.unusable = main_->offset == 0
                          ? "this is a detached header: the data it belongs to is elsewhere"
                          : fmt::format(
                                "the payload at byte {} overlaps the header, which ends "
                                "at byte {}",
                                main_->offset, header_end);
    return;
  }
  const std::uint64_t available =
      luks_payload_bytes(*source_.data, main_->offset, facts_.sector_bytes, kWhere, notices);
  facts_.payload_bytes = available;
  if (!main_->size) return;
  if (available < *main_->size) {
    notices.warn(kWhere, fmt::format("the payload is {} bytes long, the device holds {} of them",
                                     *main_->size, available));
  }
  facts_.payload_bytes = std::min(available, *main_->size);
}

std::string Luks2Volume::why_slot_unusable(const Luks2Keyslot& slot) const {
  if (slot.type != "luks2") {
    return fmt::format("keyslot type '{}' is not supported", engine::printable(slot.type));
  }
  const Luks2Digest* digest = metadata().digest_of_keyslot(slot.id);
  if (std::find(key_digests_.begin(), key_digests_.end(), digest) == key_digests_.end()) {
    return "unbound: its key is not for this volume";
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
  UnlockedVolume volume;
  volume.keys = std::move(keys);
  volume.sector_bytes = facts_.sector_bytes;
  volume.map = std::make_unique<engine::PieceMap>();
  auto cipher = cipher_of(*main_);
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

Result<std::unique_ptr<VolumeHeader>> open_luks2(const VolumeSource& source,
                                                 engine::Notices& notices) {
  auto header = read_luks2_header(*source.header_device(), notices);
  if (!header) return std::move(header).error();
  if (!*header) return std::unique_ptr<VolumeHeader>();
  return std::unique_ptr<VolumeHeader>(
      std::make_unique<Luks2Volume>(source, std::move(**header), notices));
}

}  // namespace latchkey::keyslots
