#include "keyslots/luks/luks1.h"

#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_header.h"
#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::uint32_t kSectorBytes = 512;

class Luks1Volume final : public VolumeHeader {
 public:
  // `cipher` is absent where its name is not of the usual form.
  Luks1Volume(VolumeSource source, Luks1Header header, Result<engine::CipherSpec> cipher,
              engine::Notices& notices)
      : source_(std::move(source)), header_(std::move(header)) {
    if (cipher) cipher_ = std::move(*cipher);
    describe(
        cipher.ok() ? why_cipher_unusable(cipher_, header_.key_bytes) : cipher.error().message(),
        notices);
  }

  const VolumeFacts& facts() const override { return facts_; }
  std::span<const Protector> protectors() const override { return protectors_; }

  Result<SecretBytes> try_secret(const Protector& protector, const Secret& secret,
                                 const KdfLimits& limits) const override {
    const Luks1Slot& slot = header_.slots.at(protector.number);
    auto key = open_luks_area(*source_.header_device(), area_of(slot), kdf_of(slot),
                              secret.bytes.span(), limits);
    if (!key) return key;
    const KdfSpec digest{.type = "pbkdf2",
                         .hash = header_.hash,
                         .iterations = header_.digest_iterations,
                         .memory_kib = 0,
                         .lanes = 0,
                         .salt = header_.digest_salt};
    auto fits = luks_digest_matches(digest, key->span(), header_.digest, limits);
    if (!fits) return std::move(fits).error();
    if (!*fits) return Error(ErrorCode::kWrongKey, "the key does not fit");
    return key;
  }

  Result<UnlockedVolume> layout(std::vector<SecretBytes> keys) const override {
    UnlockedVolume volume;
    volume.keys = std::move(keys);
    volume.sector_bytes = kSectorBytes;
    volume.map = std::make_unique<engine::PieceMap>();
    if (facts_.payload_bytes > 0) {
      volume.layers.push_back({.source = Layer::Source::kData,
                               .offset = facts_.payload_offset,
                               .length = facts_.payload_bytes,
                               .cipher = cipher_,
                               .key = 0});
      volume.map->data(0, 0, facts_.payload_bytes);
    }
    return volume;
  }

 private:
  KdfSpec kdf_of(const Luks1Slot& slot) const {
    return {.type = "pbkdf2",
            .hash = header_.hash,
            .iterations = slot.iterations,
            .memory_kib = 0,
            .lanes = 0,
            .salt = slot.salt};
  }

  // A slot is encrypted with the volume's own cipher and key size.
  LuksKeyArea area_of(const Luks1Slot& slot) const {
    return {.offset = slot.offset,
            .cipher = cipher_,
            .cipher_key_bytes = header_.key_bytes,
            .key_bytes = header_.key_bytes,
            .stripes = slot.stripes,
            .af_hash = header_.hash};
  }

  void describe(std::string unusable, engine::Notices& notices) {
    facts_.format = "LUKS1";
    facts_.cipher = engine::printable(header_.cipher_name);
    facts_.key_bits = header_.key_bytes * 8;
    facts_.sector_bytes = kSectorBytes;
    facts_.uuid = header_.uuid;
    facts_.payload_offset = header_.payload_offset;
    facts_.detached = source_.header != nullptr;
    facts_.unusable = std::move(unusable);
    if (header_.payload_offset == 0 && !facts_.detached) {
      facts_.unusable =
          "this is a detached header: open the image that has the data, and name this file with "
          "--header";
    } else {
      facts_.payload_bytes = luks_payload_bytes(*source_.data, header_.payload_offset, kSectorBytes,
                                                "luks1 header", notices);
    }
    for (unsigned i = 0; i < kLuks1Slots; ++i) {
      const Luks1Slot& slot = header_.slots[i];
      if (!slot.active) continue;
      const KdfSpec kdf = kdf_of(slot);
      protectors_.push_back({.number = i,
                             .label = fmt::format("keyslot {}", i),
                             .description = kdf.describe(),
                             .takes = {SecretKind::kPassphrase, SecretKind::kKeyFile},
                             .priority = 1,
                             .opens = 0,
                             .unusable = why_area_unusable(area_of(slot), kdf)});
    }
  }

  const VolumeSource source_;
  const Luks1Header header_;
  engine::CipherSpec cipher_;
  VolumeFacts facts_;
  std::vector<Protector> protectors_;
};

}  // namespace

Result<std::unique_ptr<VolumeHeader>> open_luks1(const VolumeSource& source,
                                                 engine::Notices& notices) {
  engine::BlockDevice& device = *source.header_device();
  std::array<std::byte, kLuks1HeaderBytes> bytes{};
  if (!device.in_range(0, bytes.size())) return std::unique_ptr<VolumeHeader>();
  if (auto r = engine::read_bytes(device, 0, bytes, "volume header"); !r) {
    return std::move(r).error();
  }
  if (engine::load_be<std::uint16_t>(bytes, luks1_at::kVersion) != 1) {
    return std::unique_ptr<VolumeHeader>();
  }
  if (engine::starts_with(bytes, 0, kLuks1BeingReencryptedMagic)) return luks1_being_reencrypted();
  if (!engine::starts_with(bytes, 0, kLuksMagic)) return std::unique_ptr<VolumeHeader>();
  auto header = parse_luks1_header(bytes);
  if (!header) return std::move(header).error().within("luks1 header");
  auto cipher = engine::parse_cipher_spec(header->cipher_name);
  return std::unique_ptr<VolumeHeader>(
      std::make_unique<Luks1Volume>(source, std::move(*header), std::move(cipher), notices));
}

}  // namespace latchkey::keyslots
