#include "keyslots/luks/luks2_segments.h"

#include <fmt/format.h>

#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Result;

Result<engine::CipherSpec> luks2_cipher_of(const Luks2Segment& segment, std::uint64_t skipped) {
  auto spec = engine::parse_cipher_spec(segment.encryption);
  if (!spec) return spec;
  spec->sector_bytes = segment.sector_bytes;
  spec->first_tweak = segment.iv_tweak + skipped / kLuks2TweakUnitBytes;
  spec->tweak_stride = static_cast<std::uint32_t>(segment.sector_bytes / kLuks2TweakUnitBytes);
  return spec;
}

std::uint32_t luks2_key_bytes_of(const Luks2Metadata& metadata, const Luks2Digest& digest) {
  for (const unsigned id : digest.keyslots) {
    for (const Luks2Keyslot& slot : metadata.keyslots) {
      if (slot.id == id && slot.type == "luks2") return slot.key_bytes;
    }
  }
  return 0;
}

std::string why_luks2_segment_unusable(const Luks2Metadata& metadata, const Luks2Segment& segment,
                                       const Luks2Digest* digest) {
  if (segment.type == "linear") {
    return fmt::format(
        "segment {} is of type 'linear', not encrypted: a decrypted volume is opened without its "
        "header",
        segment.id);
  }
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
  if (digest == nullptr) return fmt::format("segment {} has no key digest", segment.id);
  if (digest->type != "pbkdf2") {
    return fmt::format("key digest '{}' is not supported", engine::printable(digest->type));
  }
  auto cipher = luks2_cipher_of(segment);
  if (!cipher) return cipher.error().message();
  // Without a key slot there is no telling the key's size, and no way in either.
  const std::uint32_t key_bytes = luks2_key_bytes_of(metadata, *digest);
  return key_bytes == 0 ? "" : why_cipher_unusable(*cipher, key_bytes);
}

}  // namespace latchkey::keyslots
