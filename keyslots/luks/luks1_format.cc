#include <algorithm>

#include <fmt/format.h>

#include "keyslots/digest.h"
#include "keyslots/kdf_cost.h"
#include "keyslots/luks/luks1_writer.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_area.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;

namespace {

Error usage(std::string what) {
  return {ErrorCode::kUsage, std::move(what)};
}

Result<engine::CipherSpec> check_options(std::uint64_t header_bytes,
                                         const LuksFormatOptions& options) {
  if (options.sector_bytes != kLuks1SectorBytes)
    return usage("luks1 has sectors of 512 bytes only");
  if (!options.label.empty() || !options.subsystem.empty()) return usage("luks1 has no label");
  if (options.kdf.type != "pbkdf2" || options.kdf.hash != options.hash) {
    return usage("luks1 knows no key derivation but pbkdf2, with the header's own hash");
  }
  auto cipher = engine::parse_cipher_spec(options.cipher);
  if (!cipher) return cipher;
  if (std::string why = why_cipher_unusable(*cipher, options.key_bytes); !why.empty()) {
    return Error(ErrorCode::kNotSupported, why);
  }
  const std::uint64_t space = luks1_header_space_bytes(options.key_bytes);
  if (header_bytes < space + (options.detached ? 0 : kLuks1SectorBytes)) {
    return usage(fmt::format("{} bytes are too small: a luks1 header takes {}{}", header_bytes,
                             space,
                             options.detached ? ""
                                              : ", and no data "
                                                "would fit"));
  }
  if (!options.uuid.empty() && !is_uuid(options.uuid)) {
    return usage(fmt::format("'{}' is not a uuid", engine::printable(options.uuid)))
        .with_hint("like 01234567-89ab-cdef-0123-456789abcdef, or none: then one is made");
  }
  if (auto hash = Digest::find(options.hash); !hash) return std::move(hash).error();
  if (auto fine = check_kdf_cost(options.kdf, options.key_bytes, KdfLimits::defaults()); !fine) {
    return std::move(fine).error();
  }
  return cipher;
}

void put_text(Luks1Bytes& header, std::size_t at, std::size_t field_bytes, std::string_view text) {
  const Bytes from = engine::as_bytes(text.substr(0, field_bytes - 1));
  std::copy(from.begin(), from.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
}

// Everything but the key digest; all slots are inactive.
Luks1Bytes first_header(const LuksFormatOptions& options, const FormattedVolume& volume) {
  Luks1Bytes header{};
  put_text(header, 0, kLuksMagic.size() + 1, kLuksMagic);
  const MutableBytes bytes(header);
  engine::store_be<std::uint16_t>(bytes, luks1_at::kVersion, 1);
  const std::size_t dash = options.cipher.find('-');
  put_text(header, luks1_at::kCipher, kLuks1TextBytes, options.cipher.substr(0, dash));
  put_text(header, luks1_at::kMode, kLuks1TextBytes, options.cipher.substr(dash + 1));
  put_text(header, luks1_at::kHash, kLuks1TextBytes, options.hash);
  engine::store_be(bytes, luks1_at::kPayload,
                   static_cast<std::uint32_t>(volume.payload_offset / kLuks1SectorBytes));
  engine::store_be(bytes, luks1_at::kKeyBytes, options.key_bytes);
  put_text(header, luks1_at::kUuid, kLuks1UuidBytes, volume.uuid);
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    put_luks1_state(header, i, false);
    const std::size_t at = luks1_at::kSlots + i * kLuks1SlotBytes;
    engine::store_be(
        bytes, at + luks1_at::kSlotOffset,
        static_cast<std::uint32_t>(luks1_slot_offset(options.key_bytes, i) / kLuks1SectorBytes));
    engine::store_be(bytes, at + luks1_at::kSlotStripes, kLuksStripes);
  }
  return header;
}

Result<void> put_digest(Luks1Bytes& header, const LuksFormatOptions& options, Bytes volume_key) {
  auto cost = choose_digest_cost(options.hash, options.digest_seconds);
  if (!cost) return std::move(cost).error();
  auto spec = with_new_salt(std::move(*cost));
  if (!spec) return std::move(spec).error();
  auto digest = make_luks_digest(*spec, volume_key, kLuks1DigestBytes);
  if (!digest) return std::move(digest).error();
  std::copy(digest->begin(), digest->end(), header.begin() + luks1_at::kDigest);
  std::copy(spec->salt.begin(), spec->salt.end(), header.begin() + luks1_at::kDigestSalt);
  engine::store_be(MutableBytes(header), luks1_at::kDigestIterations, spec->iterations);
  return {};
}

}  // namespace

Result<void> check_luks1_format(std::uint64_t header_bytes, const LuksFormatOptions& options) {
  auto cipher = check_options(header_bytes, options);
  return cipher ? Result<void>() : std::move(cipher).error();
}

Result<FormattedVolume> format_luks1(engine::BlockDevice& device, const LuksFormatOptions& options,
                                     Bytes secret) {
  auto cipher = check_options(device.size_bytes(), options);
  if (!cipher) return std::move(cipher).error();
  FormattedVolume volume;
  auto key = random_secret(options.key_bytes);
  if (!key) return std::move(key).error();
  volume.volume_key = std::move(*key);
  const std::uint64_t space = luks1_header_space_bytes(options.key_bytes);
  volume.payload_offset = options.detached ? 0 : space;
  auto uuid = options.uuid.empty() ? random_uuid() : Result<std::string>(options.uuid);
  if (!uuid) return std::move(uuid).error();
  volume.uuid = std::move(*uuid);

  Luks1Bytes header = first_header(options, volume);
  if (auto r = put_digest(header, options, volume.volume_key.span()); !r) {
    return std::move(r).error();
  }
  auto kdf = with_new_salt(options.kdf);
  if (!kdf) return std::move(kdf).error();
  const LuksKeyArea area{.offset = luks1_slot_offset(options.key_bytes, 0),
                         .cipher = std::move(*cipher),
                         .cipher_key_bytes = options.key_bytes,
                         .key_bytes = options.key_bytes,
                         .stripes = kLuksStripes,
                         .af_hash = options.hash};
  auto material =
      make_luks_area(area, *kdf, volume.volume_key.span(), secret, KdfLimits::defaults());
  if (!material) return std::move(material).error();
  if (auto s = device.write_zeroes(0, luks1_slot_offset(options.key_bytes, 0)); !s.ok()) {
    return Error::system("cannot clear the place of the header", s.sys_errno());
  }
  const std::uint64_t material_at = area.offset;
  if (auto r = destroy_range(device, material_at, space - material_at); !r) {
    return std::move(r).error();
  }
  if (auto r = write_synced(device, material_at, *material, "key material"); !r) {
    return std::move(r).error();
  }
  put_luks1_slot(header, 0, kdf->iterations, kdf->salt);
  put_luks1_state(header, 0, true);
  if (auto sound = parse_luks1_header(header); !sound) return std::move(sound).error();
  if (auto r = write_luks1_bytes(device, header); !r) return std::move(r).error();
  return volume;
}

}  // namespace latchkey::keyslots
