#include <algorithm>

#include <fmt/format.h>

#include "keyslots/kdf_cost.h"
#include "keyslots/luks/luks1_writer.h"
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

class Luks1Keyslots final : public LuksKeyslots {
 public:
  Luks1Keyslots(engine::BlockDevice& device, const Luks1Bytes& bytes, Luks1Header header)
      : device_(device), bytes_(bytes), header_(std::move(header)) {}

  unsigned version() const override { return 1; }
  std::uint32_t key_bytes() const override { return header_.key_bytes; }
  std::string required_hash() const override { return header_.hash; }

  std::vector<unsigned> in_use() const override {
    std::vector<unsigned> ids;
    for (unsigned i = 0; i < kLuks1Slots; ++i) {
      if (header_.slots[i].active) ids.push_back(i);
    }
    return ids;
  }

  Result<unsigned> add(const SecretBytes& volume_key, Bytes secret, const KdfSpec& cost,
                       std::optional<unsigned> slot) override {
    auto index = free_slot(slot);
    if (!index) return index;
    if (auto r = check_volume_key(volume_key); !r) return std::move(r).error();
    return store_key(volume_key, *index, secret, cost);
  }

  Result<unsigned> change(const SecretBytes& volume_key, unsigned slot, Bytes secret,
                          const KdfSpec& cost) override {
    if (!is_active(slot)) return not_in_use(slot);
    auto added = add(volume_key, secret, cost, std::nullopt);
    if (!added) return added;
    if (auto r = remove(slot); !r) {
      return std::move(r).error().within(
          fmt::format("the new key is in keyslot {}, but the old one is left", *added));
    }
    return added;
  }

  Result<void> remove(unsigned slot) override {
    if (!is_active(slot)) return not_in_use(slot);
    Luks1Bytes bytes = bytes_;
    put_luks1_state(bytes, slot, false);
    if (auto r = commit(bytes); !r) return r;
    if (auto r = destroy(slot); !r) {
      return std::move(r).error().within("the slot was removed, but its material is left");
    }
    return {};
  }

  Result<std::uint64_t> destroy_unused() override {
    std::uint64_t destroyed = 0;
    for (unsigned slot = 0; slot < kLuks1Slots; ++slot) {
      if (is_active(slot)) continue;
      auto bytes = destroy(slot);
      if (!bytes) return bytes;
      destroyed += *bytes;
    }
    return destroyed;
  }

  Result<void> set_priority(unsigned, int) override { return only_luks2("priorities"); }
  Result<void> set_label(const std::string&) override { return only_luks2("label"); }
  Result<void> add_token(const std::string&, unsigned) override { return only_luks2("tokens"); }

 private:
  static Error only_luks2(const char* what) {
    return {ErrorCode::kNotSupported, fmt::format("luks1 has no {}", what)};
  }
  static Error not_in_use(unsigned slot) {
    return {ErrorCode::kUsage, fmt::format("keyslot {} is not in use", slot)};
  }
  bool is_active(unsigned slot) const { return slot < kLuks1Slots && header_.slots[slot].active; }

  // The material, and then the salt, of a slot that is not active; how much there was.
  Result<std::uint64_t> destroy(unsigned slot) {
    const Luks1Slot& gone = header_.slots[slot];
    const std::uint64_t begin = std::min(gone.offset, device_.size_bytes());
    const std::uint64_t length =
        std::min(engine::round_up(gone.length, kLuks1SectorBytes), device_.size_bytes() - begin);
    if (auto r = destroy_range(device_, begin, length); !r) return std::move(r).error();
    Luks1Bytes bytes = bytes_;
    put_luks1_slot(bytes, slot, 0, std::vector<std::byte>(kLuks1SaltBytes));
    if (auto r = commit(bytes); !r) return std::move(r).error();
    return length;
  }

  Result<unsigned> free_slot(std::optional<unsigned> wanted) const {
    if (wanted) {
      if (*wanted >= kLuks1Slots) {
        return Error(ErrorCode::kUsage,
                     fmt::format("keyslot {}: luks1 has 0 to {}", *wanted, kLuks1Slots - 1));
      }
      if (!is_active(*wanted)) return *wanted;
      return Error(ErrorCode::kUsage, fmt::format("keyslot {} is in use", *wanted))
          .with_hint("latchkey key change gives it another key");
    }
    for (unsigned i = 0; i < kLuks1Slots; ++i) {
      if (!is_active(i)) return i;
    }
    return Error(ErrorCode::kRefused, "all 8 key slots are in use")
        .with_hint("remove another key first");
  }

  Result<void> check_volume_key(const SecretBytes& volume_key) const {
    KdfSpec spec;
    spec.type = "pbkdf2";
    spec.hash = header_.hash;
    spec.iterations = header_.digest_iterations;
    spec.salt = header_.digest_salt;
    auto fits = luks_digest_matches(spec, volume_key.span(), header_.digest, KdfLimits::defaults());
    if (!fits) return std::move(fits).error();
    if (!*fits) return Error(ErrorCode::kWrongKey, "this is not the key of the volume");
    return {};
  }

  Result<unsigned> store_key(const SecretBytes& volume_key, unsigned index, Bytes secret,
                             const KdfSpec& cost) {
    if (cost.type != "pbkdf2" || cost.hash != header_.hash) {
      return Error(ErrorCode::kUsage,
                   "luks1 knows no key derivation but pbkdf2, with the header's own hash");
    }
    auto kdf = with_new_salt(cost);
    if (!kdf) return std::move(kdf).error();
    auto cipher = engine::parse_cipher_spec(header_.cipher_name);
    if (!cipher) return std::move(cipher).error();
    const Luks1Slot& slot = header_.slots[index];
    const LuksKeyArea area{.offset = slot.offset,
                           .cipher = std::move(*cipher),
                           .cipher_key_bytes = header_.key_bytes,
                           .key_bytes = header_.key_bytes,
                           .stripes = slot.stripes,
                           .af_hash = header_.hash};
    auto material = make_luks_area(area, *kdf, volume_key.span(), secret, KdfLimits::defaults());
    if (!material) return std::move(material).error();
    if (auto r = write_synced(device_, slot.offset, *material, "key material"); !r) {
      return std::move(r).error();
    }
    Luks1Bytes bytes = bytes_;
    put_luks1_slot(bytes, index, kdf->iterations, kdf->salt);
    if (auto r = commit(bytes); !r) return std::move(r).error();
    put_luks1_state(bytes, index, true);
    if (auto r = commit(bytes); !r) return std::move(r).error();
    return index;
  }

  // A header that is parsed before it is written.
  Result<void> commit(const Luks1Bytes& bytes) {
    auto header = parse_luks1_header(bytes);
    if (!header) return std::move(header).error().within("the header that was about to be written");
    if (auto r = write_luks1_bytes(device_, bytes); !r) return r;
    bytes_ = bytes;
    header_ = std::move(*header);
    return {};
  }

  engine::BlockDevice& device_;
  Luks1Bytes bytes_;
  Luks1Header header_;
};

}  // namespace

Result<std::unique_ptr<LuksKeyslots>> open_luks1_keyslots(engine::BlockDevice& device) {
  auto bytes = read_luks1_bytes(device);
  if (!bytes) return std::move(bytes).error();
  auto header = parse_luks1_header(*bytes);
  if (!header) return std::move(header).error().within("luks1 header");
  return std::unique_ptr<LuksKeyslots>(
      std::make_unique<Luks1Keyslots>(device, *bytes, std::move(*header)));
}

Result<std::unique_ptr<LuksKeyslots>> open_luks_keyslots(engine::BlockDevice& device) {
  Luks1Bytes start{};
  if (device.in_range(0, start.size()) && device.read(0, start).ok() &&
      engine::starts_with(start, 0, kLuksMagic) &&
      engine::load_be<std::uint16_t>(start, luks1_at::kVersion) == 1) {
    return open_luks1_keyslots(device);
  }
  return open_luks2_keyslots(device);
}

}  // namespace latchkey::keyslots
