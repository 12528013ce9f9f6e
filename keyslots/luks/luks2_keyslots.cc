#include <algorithm>

#include <fmt/format.h>

#include "keyslots/luks/luks2_json_edit.h"
#include "keyslots/luks/luks2_segments.h"
#include "keyslots/luks/luks2_slots.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_area.h"
#include "keyslots/luks/luks_keyslots.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

class Luks2Keyslots final : public LuksKeyslots {
 public:
  explicit Luks2Keyslots(Luks2Store store) : store_(std::move(store)) {}

  unsigned version() const override { return 2; }

  std::uint32_t key_bytes() const override {
    const Luks2Digest* digest = volume_digest();
    return digest == nullptr ? 0 : luks2_key_bytes_of(metadata(), *digest);
  }

  std::vector<unsigned> in_use() const override {
    std::vector<unsigned> ids;
    for (const Luks2Keyslot& slot : metadata().keyslots) ids.push_back(slot.id);
    return ids;
  }

  Result<unsigned> add(const SecretBytes& volume_key, Bytes secret, const KdfSpec& cost,
                       std::optional<unsigned> slot) override {
    auto id = free_slot(slot);
    if (!id) return id;
    return store_key(volume_key, *id, secret, cost);
  }

  Result<unsigned> change(const SecretBytes& volume_key, unsigned slot, Bytes secret,
                          const KdfSpec& cost) override {
    const Luks2Keyslot* old = find(slot);
    if (old == nullptr) return not_in_use(slot);
    if (old->type != "luks2" || metadata().digest_of_keyslot(slot) != volume_digest()) {
      return Error(ErrorCode::kUsage, fmt::format("keyslot {} holds no key of this volume", slot));
    }
    const Luks2Area area = old->area;
    auto done = store_key(volume_key, slot, secret, cost);
    if (!done) return done;
    if (auto gone = destroy_range(store_.device(), area.offset, area.size); !gone) {
      return std::move(gone).error().within("the key was changed, but its old material is left");
    }
    return done;
  }

  Result<void> remove(unsigned slot) override {
    const Luks2Keyslot* old = find(slot);
    if (old == nullptr) return not_in_use(slot);
    const Luks2Area area = old->area;
    auto json = luks2_json_without_keyslot(store_.json(), slot);
    if (!json) return std::move(json).error();
    if (auto r = store_.commit(std::move(*json)); !r) return r;
    if (auto gone = destroy_range(store_.device(), area.offset, area.size); !gone) {
      return std::move(gone).error().within("the slot was removed, but its material is left");
    }
    return {};
  }

  Result<std::uint64_t> destroy_unused() override {
    const std::uint64_t header_bytes = store_.header().header_bytes;
    const std::uint64_t end = 2 * header_bytes + metadata().keyslots_bytes;
    for (const Luks2Segment& segment : metadata().segments) {
      if (segment.offset == 0 || segment.offset >= end) continue;  // 0: the data is elsewhere
      return Error(ErrorCode::kDamaged, fmt::format("the payload at byte {} overlaps the header, "
                                                    "which ends at byte {}",
                                                    segment.offset, end));
    }
    // Both copies say the same from here on: an older one might still name what is destroyed.
    if (auto r = store_.commit(store_.json()); !r) return std::move(r).error();
    std::uint64_t destroyed = 0;
    const std::uint64_t device_end = store_.device().size_bytes();
    for (const Luks2Gap& gap : luks2_gaps(metadata(), header_bytes)) {
      if (gap.offset >= device_end) break;
      const std::uint64_t length = std::min(gap.size, device_end - gap.offset);
      if (auto r = destroy_range(store_.device(), gap.offset, length); !r) {
        return std::move(r).error();
      }
      destroyed += length;
    }
    return destroyed;
  }

  Result<void> set_priority(unsigned slot, int priority) override {
    if (find(slot) == nullptr) return not_in_use(slot);
    return commit(luks2_json_with_priority(store_.json(), slot, priority));
  }
  Result<void> set_label(const std::string& label) override { return store_.set_label(label); }
  Result<void> add_token(const std::string& type, unsigned slot) override {
    if (find(slot) == nullptr) return not_in_use(slot);
    return commit(luks2_json_with_token(store_.json(), type, slot));
  }

 private:
  const Luks2Metadata& metadata() const { return store_.metadata(); }

  const Luks2Keyslot* find(unsigned id) const {
    const auto& slots = metadata().keyslots;
    const auto found = std::find_if(slots.begin(), slots.end(),
                                    [&](const Luks2Keyslot& slot) { return slot.id == id; });
    return found == slots.end() ? nullptr : &*found;
  }

  // Without requirements there is one segment that is not a backup's, or the volume does not open.
  const Luks2Digest* volume_digest() const {
    for (const Luks2Segment& segment : metadata().segments) {
      if (!segment.is_backup()) return metadata().digest_of_segment(segment.id);
    }
    return nullptr;
  }

  static Error not_in_use(unsigned slot) {
    return Error(ErrorCode::kUsage, fmt::format("keyslot {} is not in use", slot));
  }

  Result<unsigned> free_slot(std::optional<unsigned> wanted) const {
    if (wanted) {
      if (*wanted >= kLuks2MaxSlots) {
        return Error(ErrorCode::kUsage,
                     fmt::format("keyslot {}: luks2 has 0 to {}", *wanted, kLuks2MaxSlots - 1));
      }
      if (find(*wanted) == nullptr) return *wanted;
      return Error(ErrorCode::kUsage, fmt::format("keyslot {} is in use", *wanted))
          .with_hint("latchkey key change gives it another key");
    }
    for (unsigned id = 0; id < kLuks2MaxSlots; ++id) {
      if (find(id) == nullptr) return id;
    }
    return Error(ErrorCode::kRefused, "all key slots are in use").with_hint("remove a key first");
  }

  Result<void> check_volume_key(const SecretBytes& volume_key, const Luks2Digest& digest) const {
    auto fits =
        luks_digest_matches(digest.kdf, volume_key.span(), digest.digest, KdfLimits::defaults());
    if (!fits) return std::move(fits).error();
    if (!*fits) return Error(ErrorCode::kWrongKey, "this is not the key of the volume");
    return {};
  }

  // Material first, then the header that names it.
  Result<unsigned> store_key(const SecretBytes& volume_key, unsigned id, Bytes secret,
                             const KdfSpec& cost) {
    const Luks2Digest* digest = volume_digest();
    if (digest == nullptr || digest->type != "pbkdf2") {
      return Error(ErrorCode::kNotSupported, "the volume's key digest is not known");
    }
    if (auto r = check_volume_key(volume_key, *digest); !r) return std::move(r).error();
    auto slot = plan_luks2_slot(metadata(), store_.header().header_bytes, id,
                                static_cast<std::uint32_t>(volume_key.size()), cost);
    if (!slot) return std::move(slot).error();
    auto material = make_luks2_material(*slot, volume_key.span(), secret);
    if (!material) return std::move(material).error();
    auto json = luks2_json_with_keyslot(store_.json(), *slot, digest->id);
    if (!json) return std::move(json).error();
    if (auto r = write_synced(store_.device(), slot->area.offset, *material, "key material"); !r) {
      return std::move(r).error();
    }
    if (auto r = store_.commit(std::move(*json)); !r) return std::move(r).error();
    return id;
  }

  Result<void> commit(Result<std::string> json) {
    if (!json) return std::move(json).error();
    return store_.commit(std::move(*json));
  }

  Luks2Store store_;
};

}  // namespace

std::vector<LuksToken> luks_tokens(engine::BlockDevice& header) {
  std::vector<LuksToken> all;
  const Luks2Copies copies = read_luks2_copies(header);
  const Luks2Copy* newest = copies.newest();
  if (newest == nullptr) return all;
  for (const Luks2Token& token : newest->header->metadata.tokens) {
    all.push_back({token.id, engine::printable(token.type), token.keyslots});
  }
  return all;
}

Result<std::unique_ptr<LuksKeyslots>> open_luks2_keyslots(engine::BlockDevice& header) {
  auto store = Luks2Store::open(header);
  if (!store) return std::move(store).error();
  return std::unique_ptr<LuksKeyslots>(std::make_unique<Luks2Keyslots>(std::move(*store)));
}

}  // namespace latchkey::keyslots
