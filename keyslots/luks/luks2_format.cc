#include <fmt/format.h>

#include "engine/sector_cipher.h"
#include "keyslots/digest.h"
#include "keyslots/kdf_cost.h"
#include "keyslots/luks/luks2_json_edit.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks2_segments.h"
#include "keyslots/luks/luks2_slots.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_area.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::uint64_t kHeaderBytes = kLuks2CopySizes.front();
constexpr std::uint64_t kKeyslotsBytes = kLuks2HeaderSpaceBytes - 2 * kHeaderBytes;

Error usage(std::string what) {
  return {ErrorCode::kUsage, std::move(what)};
}

Result<void> check_options(std::uint64_t header_bytes, const LuksFormatOptions& options) {
  const std::uint32_t sector = options.sector_bytes;
  if (sector < 512 || sector > 4096 || (sector & (sector - 1)) != 0) {
    return usage(
        fmt::format("a sector size of {} bytes: 512, 1024, 2048 or 4096 are possible", sector));
  }
  for (const std::string& text : {options.label, options.subsystem}) {
    if (auto fine = check_luks2_label(text); !fine) return std::move(fine).error();
  }
  auto cipher = engine::parse_cipher_spec(options.cipher);
  if (!cipher) return std::move(cipher).error();
  cipher->sector_bytes = sector;
  if (std::string why = why_cipher_unusable(*cipher, options.key_bytes); !why.empty()) {
    return Error(ErrorCode::kNotSupported, why);
  }
  if (header_bytes < kLuks2HeaderSpaceBytes) {
    return usage(fmt::format("{} bytes are too small for a luks2 header, which takes {} MiB",
                             header_bytes, kLuks2HeaderSpaceBytes >> 20));
  }
  if (!options.detached && header_bytes < kLuks2HeaderSpaceBytes + sector) {
    return usage("behind the luks2 header of 16 MiB there is no room for data");
  }
  if (!options.uuid.empty() && !is_uuid(options.uuid)) {
    return usage(fmt::format("'{}' is not a uuid", engine::printable(options.uuid)))
        .with_hint("like 01234567-89ab-cdef-0123-456789abcdef, or none: then one is made");
  }
  if (auto hash = Digest::find(options.hash); !hash) return std::move(hash).error();
  return check_kdf_cost(options.kdf, options.key_bytes, KdfLimits::defaults());
}

Result<Luks2Metadata> first_metadata(const LuksFormatOptions& options, Bytes volume_key) {
  Luks2Metadata metadata;
  metadata.json_bytes = kHeaderBytes - kLuks2BinaryBytes;
  metadata.keyslots_bytes = kKeyslotsBytes;
  Luks2Segment segment;
  segment.type = "crypt";
  segment.offset = options.detached ? 0 : kLuks2HeaderSpaceBytes;
  segment.encryption = options.cipher;
  segment.sector_bytes = options.sector_bytes;
  metadata.segments.push_back(segment);
  Luks2Digest digest;
  digest.type = "pbkdf2";
  digest.segments = {0};
  auto cost = choose_digest_cost(options.hash, options.digest_seconds);
  if (!cost) return std::move(cost).error();
  auto salted = with_new_salt(std::move(*cost));
  if (!salted) return std::move(salted).error();
  digest.kdf = std::move(*salted);
  auto hash = Digest::find(options.hash);
  if (!hash) return std::move(hash).error();
  auto value = make_luks_digest(digest.kdf, volume_key, hash->size_bytes());
  if (!value) return std::move(value).error();
  digest.digest = std::move(*value);
  metadata.digests.push_back(std::move(digest));
  return metadata;
}

// Whatever header, key material or file system began here is gone once this returns.
Result<void> clear_place(engine::BlockDevice& device) {
  if (auto s = device.write_zeroes(0, 2 * kHeaderBytes); !s.ok()) {
    return Error::system("cannot clear the place of the header", s.sys_errno());
  }
  return destroy_range(device, 2 * kHeaderBytes, kKeyslotsBytes);
}

}  // namespace

Result<void> check_luks2_format(std::uint64_t header_bytes, const LuksFormatOptions& options) {
  return check_options(header_bytes, options);
}

Result<FormattedVolume> format_luks2(engine::BlockDevice& header, const LuksFormatOptions& options,
                                     Bytes secret) {
  if (auto r = check_options(header.size_bytes(), options); !r) return std::move(r).error();
  FormattedVolume volume;
  auto key = random_secret(options.key_bytes);
  if (!key) return std::move(key).error();
  volume.volume_key = std::move(*key);
  volume.payload_offset = options.detached ? 0 : kLuks2HeaderSpaceBytes;
  auto uuid = options.uuid.empty() ? random_uuid() : Result<std::string>(options.uuid);
  if (!uuid) return std::move(uuid).error();
  volume.uuid = std::move(*uuid);
  auto metadata = first_metadata(options, volume.volume_key.span());
  if (!metadata) return std::move(metadata).error();

  auto slot = plan_luks2_slot(*metadata, kHeaderBytes, 0, options.key_bytes, options.kdf);
  if (!slot) return std::move(slot).error();
  slot->af_hash = options.hash;
  auto material = make_luks2_material(*slot, volume.volume_key.span(), secret);
  if (!material) return std::move(material).error();
  if (auto r = clear_place(header); !r) return std::move(r).error();
  if (auto r = write_synced(header, slot->area.offset, *material, "key material"); !r) {
    return std::move(r).error();
  }
  metadata->keyslots.push_back(std::move(*slot));
  metadata->digests.front().keyslots = {0};
  const Luks2Content content{
      make_luks2_binary(kHeaderBytes, volume.uuid, options.label, options.subsystem),
      make_luks2_json(*metadata)};
  if (auto r = write_luks2_copies(header, content, CopyOrder::kFirstFirst); !r) {
    return std::move(r).error();
  }
  return volume;
}

}  // namespace latchkey::keyslots
