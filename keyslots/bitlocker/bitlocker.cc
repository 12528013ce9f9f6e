#include "keyslots/bitlocker/bitlocker.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "keyslots/bitlocker/bitlocker_cipher.h"
#include "keyslots/bitlocker/bitlocker_copies.h"
#include "keyslots/bitlocker/bitlocker_facts.h"
#include "keyslots/bitlocker/bitlocker_layout.h"
#include "keyslots/bitlocker/bitlocker_protectors.h"
#include "keyslots/bitlocker/bitlocker_unlock.h"
#include "keyslots/bitlocker/bitlocker_verify.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Notices;
using engine::Result;
using engine::SecretBytes;

namespace {

// Which volume key a protector gives.
constexpr unsigned kOpensVmk = 0;
constexpr unsigned kOpensFvek = 1;

class BitlockerVolume final : public VolumeHeader {
 public:
  BitlockerVolume(VolumeSource source, FoundBitlocker found, std::uint64_t volume_bytes)
      : source_(std::move(source)),
        found_(std::move(found)),
        shape_{.volume_bytes = volume_bytes,
               .sector_bytes = found_.sector_bytes,
               .cluster_bytes = found_.boot.cluster_bytes},
        ways_in_(read_bitlocker_protectors(first())) {}

  // The recording of a conversion, the layout as far as no key is needed, and what to show.
  void look(Notices& notices) {
    std::string unusable;
    if (found_.boot.eow_offsets) {
      auto eow = read_eow(*source_.data, *found_.boot.eow_offsets, shape_.sector_bytes, notices);
      if (eow) {
        eow_ = std::move(*eow);
      } else {
        unusable = eow.error().message();
      }
    }
    if (!eow_ && unusable.empty()) unusable = why_conversion_unreadable(*source_.data, first());
    auto pieces = plan_bitlocker_layout(first(), eow(), shape_);
    if (pieces) {
      needs_key_ = has_ciphertext(*pieces);
      pieces_ = std::move(*pieces);
    } else if (unusable.empty()) {
      unusable = pieces.error().message();
    }
    if (needs_key_ && first().method != BitlockerMethod::kNone &&
        bitlocker_key_bytes(first().method) == 0 && unusable.empty()) {
      unusable = describe_bitlocker_method(first().method) + " of encryption is not known";
    }
    if (unusable.empty() && !needs_key_ && any_copy_is_encrypted()) {
      unusable =
          "the copies of its metadata disagree on whether it is encrypted: without a key nobody "
          "can tell which is right";
    }
    warn_of_missing_end(notices);
    list_protectors();
    facts_ = bitlocker_facts(found_, shape_, eow(), suspended());
    facts_.unusable = std::move(unusable);
  }

  const VolumeFacts& facts() const override { return facts_; }
  std::span<const Protector> protectors() const override { return protectors_; }
  std::string protector_noun() const override { return "protector"; }
  std::size_t key_count() const override { return needs_key_ ? 1 : 0; }
  bool tries_in_parallel() const override { return true; }

  Result<SecretBytes> try_secret(const Protector& protector, const Secret& secret,
                                 const KdfLimits& /*limits*/) const override {
    if (protector.on_disk) {
      return open_bitlocker_protector(ways_in_.at(protector.number), secret);
    }
    if (protector.opens == kOpensVmk) return try_raw_vmk(secret);
    return verify_bitlocker_fvek(*source_.data, pieces_, shape_.sector_bytes, first().method,
                                 secret.bytes.span());
  }

  Result<UnlockedVolume> layout(std::vector<SecretBytes> keys) const override {
    if (!needs_key_) return build(first(), std::nullopt, "it is not encrypted (any more)");
    if (keys.size() > kOpensFvek && !keys[kOpensFvek].empty()) {
      return build(first(),
                   UnsealedKey{.type = static_cast<std::uint16_t>(first().method),
                               .key = std::move(keys[kOpensFvek])},
                   copies_vouch_for_each_other()
                       ? ""
                       : "an FVEK cannot show which copy of its metadata is right");
    }
    if (keys.empty() || keys[kOpensVmk].empty()) {
      return Error(ErrorCode::kKeyNeeded, "no volume key was given");
    }
    return layout_with_vmk(keys[kOpensVmk]);
  }

  Result<std::vector<StoredSecret>> stored_secrets(
      const std::vector<SecretBytes>& keys) const override {
    if (keys.empty() || keys[kOpensVmk].empty()) {
      return Error(ErrorCode::kNotSupported,
                   needs_key_ ? "the volume's FVEK alone does not open its recovery passwords"
                              : "the volume is not encrypted: nothing opens its recovery passwords")
          .with_hint("give a key that opens one of its protectors");
    }
    std::vector<StoredSecret> out;
    for (std::size_t i = 0; i < ways_in_.size(); ++i) {
      if (ways_in_[i].kind != BitlockerProtectorKind::kRecoveryPassword) continue;
      auto key = stored_recovery_key(ways_in_[i], keys[kOpensVmk].span());
      if (!key) return std::move(key).error().within(protectors_[i].label);
      out.push_back({.protector = protectors_[i].number,
                     .secret = {.kind = SecretKind::kRecoveryPassword,
                                .bytes = format_recovery_password(key->span()),
                                .label = "recovery password of " + protectors_[i].label,
                                .protector_id = protectors_[i].id}});
    }
    return out;
  }

 private:
  const BitlockerMetadata& first() const { return found_.copies.front(); }
  const EowState* eow() const { return eow_ ? &*eow_ : nullptr; }

  // Does a copy as good as the first one say other than that all is decrypted?
  bool any_copy_is_encrypted() const {
    return std::any_of(
        found_.copies.begin(), found_.copies.end(), [this](const BitlockerMetadata& copy) {
          return copy.crc_holds == first().crc_holds && copy.state != first().state &&
                 copy.state != BitlockerState::kDecrypted;
        });
  }

  bool copies_vouch_for_each_other() const {
    return found_.copies.size() == first().offsets.size() &&
           std::all_of(found_.copies.begin(), found_.copies.end(),
                       [this](const BitlockerMetadata& copy) {
                         return copy.crc_holds && std::ranges::equal(copy.info(), first().info());
                       });
  }

  bool suspended() const {
    return std::any_of(protectors_.begin(), protectors_.end(), [](const Protector& protector) {
      return !protector.needs_secret && protector.unusable.empty();
    });
  }

  static bool has_ciphertext(const std::vector<BitlockerPiece>& pieces) {
    return std::any_of(pieces.begin(), pieces.end(), [](const BitlockerPiece& piece) {
      return piece.kind == BitlockerPiece::Kind::kCipher;
    });
  }

  void warn_of_missing_end(Notices& notices) const {
    const std::uint64_t declared = declared_bitlocker_bytes(found_, shape_);
    if (declared <= source_.data->size_bytes()) return;
    notices.warn("bitlocker metadata",
                 fmt::format("the volume has {} bytes, the image only {}: the end is missing",
                             declared, source_.data->size_bytes()));
  }

  void list_protectors() {
    for (std::size_t i = 0; i < ways_in_.size(); ++i) {
      protectors_.push_back(describe_bitlocker_protector(ways_in_[i], static_cast<unsigned>(i)));
    }
    if (!needs_key_) return;
    const auto add_raw = [this](const char* label, unsigned opens) {
      Protector raw;
      raw.number = static_cast<unsigned>(protectors_.size());
      raw.label = label;
      raw.description = "out of a memory image";
      raw.takes = {SecretKind::kRawKey};
      raw.opens = opens;
      raw.on_disk = false;
      protectors_.push_back(std::move(raw));
    };
    add_raw("raw VMK", kOpensVmk);
    add_raw("raw FVEK", kOpensFvek);
  }

  static Result<std::optional<UnsealedKey>> fvek_of(const BitlockerMetadata& metadata,
                                                    const SecretBytes& vmk) {
    const Datum* sealed = find_datum(metadata.datums, DatumRole::kFvek, DatumType::kAesCcm);
    if (sealed == nullptr) {
      return Error(ErrorCode::kDamaged, "the metadata holds no volume encryption key (FVEK)");
    }
    return unseal_key(sealed->payload, vmk.span());
  }

  Result<SecretBytes> try_raw_vmk(const Secret& secret) const {
    if (secret.bytes.size() != kBitlockerKeyBytes) {
      return Error(ErrorCode::kWrongKey, "a VMK has 32 bytes");
    }
    for (const BitlockerMetadata& metadata : found_.copies) {
      const auto fvek = fvek_of(metadata, secret.bytes);
      if (fvek && *fvek) return SecretBytes::copy_of(secret.bytes.span());
    }
    return Error(ErrorCode::kWrongKey, "the key does not fit");
  }

  // The first copy that is what its maker sealed counts. Bit rot makes a copy's sum wrong, too:
  // where all are, the first that the key fits is used, read-only. A copy whose sum is right and
  // whose seal is not was made by somebody who does not have the key.
  Result<UnlockedVolume> layout_with_vmk(const SecretBytes& vmk) const {
    for (const BitlockerMetadata& metadata : found_.copies) {
      if (!metadata.crc_holds || !bitlocker_seal_holds(metadata, vmk)) continue;
      auto fvek = fvek_of(metadata, vmk);
      if (!fvek) return std::move(fvek).error();
      if (!*fvek) return fvek_does_not_fit();
      return build(metadata, std::move(**fvek), "");
    }
    for (const BitlockerMetadata& metadata : found_.copies) {
      if (metadata.crc_holds && !metadata.sealed_hash.empty()) {
        return Error(ErrorCode::kDamaged,
                     "no copy of its metadata is what its maker sealed with the volume's master "
                     "key: somebody has altered it, and what it says of the volume may be false")
            .with_hint("copy the image again from where it came from, and compare");
      }
    }
    std::optional<Error> first_error;
    for (const BitlockerMetadata& metadata : found_.copies) {
      auto fvek = fvek_of(metadata, vmk);
      if (fvek && *fvek) {
        return build(metadata, std::move(**fvek), "no copy of its metadata passes its own check");
      }
      if (!first_error) first_error = fvek ? fvek_does_not_fit() : std::move(fvek).error();
    }
    return std::move(*first_error);
  }

  static Error fvek_does_not_fit() {
    return {ErrorCode::kDamaged,
            "the volume's master key does not open its encryption key (FVEK): they do not belong "
            "together"};
  }

  Result<UnlockedVolume> build(const BitlockerMetadata& metadata, std::optional<UnsealedKey> fvek,
                               const std::string& read_only_reason) const {
    auto pieces = plan_bitlocker_layout(metadata, eow(), shape_);
    if (!pieces) return std::move(pieces).error();
    UnlockedVolume volume;
    volume.sector_bytes = shape_.sector_bytes;
    volume.read_only_reason =
        read_only_reason.empty() ? why_bitlocker_read_only(found_, metadata) : read_only_reason;
    if (has_ciphertext(*pieces)) {
      if (!fvek) return Error(ErrorCode::kDamaged, "the copies of the metadata disagree");
      const auto method = static_cast<BitlockerMethod>(fvek->type);
      auto cipher = bitlocker_cipher(method, shape_.sector_bytes);
      if (!cipher) return std::move(cipher).error();
      auto key = bitlocker_cipher_key(method, fvek->key.span());
      if (!key) {
        return Error(ErrorCode::kDamaged,
                     fmt::format("a key of {} bytes is not one of {}", fvek->key.size(),
                                 describe_bitlocker_method(method)));
      }
      volume.keys.push_back(std::move(*key));
      volume.layers.push_back({.source = Layer::Source::kData,
                               .offset = 0,
                               .length = shape_.volume_bytes,
                               .cipher = std::move(*cipher),
                               .key = 0});
    }
    if (auto done = add_map(metadata, *pieces, volume); !done) return std::move(done).error();
    return volume;
  }

  Result<void> add_map(const BitlockerMetadata& metadata, const std::vector<BitlockerPiece>& pieces,
                       UnlockedVolume& volume) const {
    using Kind = BitlockerPiece::Kind;
    std::optional<std::size_t> plain;
    volume.map = std::make_unique<engine::PieceMap>();
    for (const BitlockerPiece& piece : pieces) {
      switch (piece.kind) {
        case Kind::kCipher:
          volume.map->data(0, piece.offset, piece.length);
          break;
        case Kind::kPlain:
          if (!plain) {
            plain = volume.layers.size();
            volume.layers.push_back({.source = Layer::Source::kData,
                                     .offset = 0,
                                     .length = shape_.volume_bytes,
                                     .cipher = std::nullopt,
                                     .key = 0});
          }
          volume.map->data(*plain, piece.offset, piece.length);
          break;
        case Kind::kBlank:
          volume.map->blank(piece.length);
          break;
        case Kind::kMade: {
          auto made = vista_boot_sector(*source_.data, metadata, piece.length);
          if (!made) return std::move(made).error();
          volume.map->data(volume.layers.size(), 0, piece.length);
          volume.layers.push_back({.source = Layer::Source::kMade,
                                   .offset = 0,
                                   .length = piece.length,
                                   .cipher = std::nullopt,
                                   .key = 0,
                                   .made = std::move(*made)});
          break;
        }
      }
    }
    return {};
  }

  const VolumeSource source_;
  const FoundBitlocker found_;
  const BitlockerShape shape_;
  const std::vector<BitlockerProtector> ways_in_;  // of the first copy
  std::optional<EowState> eow_;
  std::vector<BitlockerPiece> pieces_;  // by the first copy
  bool needs_key_ = true;
  VolumeFacts facts_;
  std::vector<Protector> protectors_;  // those of the disk at the same index as in ways_in_
};

}  // namespace

Result<std::unique_ptr<VolumeHeader>> open_bitlocker(const VolumeSource& source, Notices& notices) {
  // A header of its own is LUKS's.
  if (source.header != nullptr) return std::unique_ptr<VolumeHeader>();
  auto found = find_bitlocker(*source.data, notices);
  if (!found) return std::move(found).error();
  if (!*found) return std::unique_ptr<VolumeHeader>();
  const std::uint64_t volume_bytes =
      engine::round_down(source.data->size_bytes(), (*found)->sector_bytes);
  auto volume = std::make_unique<BitlockerVolume>(source, std::move(**found), volume_bytes);
  volume->look(notices);
  return std::unique_ptr<VolumeHeader>(std::move(volume));
}

}  // namespace latchkey::keyslots
