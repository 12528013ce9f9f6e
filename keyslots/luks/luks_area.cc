#include "keyslots/luks/luks_area.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/digest.h"
#include "keyslots/luks/anti_forensic.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {
constexpr std::uint32_t kAreaSectorBytes = 512;
}

Result<SecretBytes> open_luks_area(engine::BlockDevice& header, const LuksKeyArea& area,
                                   const KdfSpec& kdf, Bytes secret, const KdfLimits& limits) {
  SecretBytes material(
      engine::round_up(std::uint64_t{area.key_bytes} * area.stripes, kAreaSectorBytes));
  // Read before the KDF is paid for: a truncated image says so at once.
  if (auto r = engine::read_bytes(header, area.offset, material.span(), "key material"); !r) {
    return std::move(r).error();
  }
  auto slot_key = derive_key(kdf, secret, area.cipher_key_bytes, limits);
  if (!slot_key) return std::move(slot_key).error();
  auto cipher = engine::make_sector_cipher(area.cipher, *slot_key);
  if (!cipher) return std::move(cipher).error();
  (*cipher)->decrypt(0, material.span(), material.span());
  return anti_forensic_merge(material.span(), area.key_bytes, area.stripes, area.af_hash);
}

Result<std::vector<std::byte>> make_luks_area(const LuksKeyArea& area, const KdfSpec& kdf,
                                              Bytes key, Bytes secret, const KdfLimits& limits) {
  if (key.size() != area.key_bytes) {
    return engine::Error(
        engine::ErrorCode::kUsage,
        fmt::format("a key of {} bytes where one of {} belongs", key.size(), area.key_bytes));
  }
  auto slot_key = derive_key(kdf, secret, area.cipher_key_bytes, limits);
  if (!slot_key) return std::move(slot_key).error();
  auto cipher = engine::make_sector_cipher(area.cipher, *slot_key);
  if (!cipher) return std::move(cipher).error();
  auto material = anti_forensic_split(key, area.stripes, area.af_hash);
  if (!material) return std::move(material).error();
  SecretBytes sectors(engine::round_up(material->size(), kAreaSectorBytes));
  std::copy(material->span().begin(), material->span().end(), sectors.span().begin());
  (*cipher)->encrypt(0, sectors.span(), sectors.span());
  return std::vector<std::byte>(sectors.span().begin(), sectors.span().end());
}

Result<std::vector<std::byte>> make_luks_digest(const KdfSpec& spec, Bytes key,
                                                std::size_t digest_bytes) {
  auto digest = derive_key(spec, key, digest_bytes, KdfLimits::defaults());
  if (!digest) return std::move(digest).error();
  return std::vector<std::byte>(digest->span().begin(), digest->span().end());
}

Result<bool> luks_digest_matches(const KdfSpec& spec, Bytes key, Bytes digest,
                                 const KdfLimits& limits) {
  // With few bytes many a wrong key would match. LUKS1's have 20, and LUKS2's at least as many.
  constexpr std::size_t kLeastBytes = 20;
  if (digest.size() < kLeastBytes) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("a digest of {} bytes does not tell the volume's key", digest.size()));
  }
  auto computed = derive_key(spec, key, digest.size(), limits);
  if (!computed) return std::move(computed).error();
  return computed->equals(digest);
}

std::string why_cipher_unusable(const engine::CipherSpec& spec, std::size_t key_bytes) {
  SecretBytes key(key_bytes);
  // Not all the same: XTS refuses two equal halves.
  for (std::size_t i = 0; i < key_bytes; ++i) key.span()[i] = static_cast<std::byte>(i);
  auto cipher = engine::make_sector_cipher(spec, key);
  return cipher ? "" : cipher.error().message();
}

std::string why_area_unusable(const LuksKeyArea& area, const KdfSpec& kdf) {
  if (std::string why = why_cipher_unusable(area.cipher, area.cipher_key_bytes); !why.empty()) {
    return why;
  }
  if (auto digest = Digest::find(area.af_hash); !digest) return digest.error().message();
  if (kdf.type == "pbkdf2") {
    auto digest = Digest::find(kdf.hash);
    return digest ? "" : digest.error().message();
  }
  if (kdf.type == "argon2i" || kdf.type == "argon2id") return "";
  return fmt::format("key derivation '{}' is not supported", engine::printable(kdf.type));
}

std::uint64_t luks_payload_bytes(const engine::BlockDevice& data, std::uint64_t offset,
                                 std::uint32_t sector_bytes, const std::string& where,
                                 engine::Notices& notices) {
  const std::uint64_t size = data.size_bytes();
  if (offset >= size) {
    notices.warn(where, fmt::format("the payload begins at byte {}, the device ends at byte {}: "
                                    "only the header is here",
                                    offset, size));
    return 0;
  }
  const std::uint64_t rest = (size - offset) % sector_bytes;
  if (rest != 0) {
    notices.warn(where, fmt::format("the last {} bytes of the payload are not a whole {}-byte "
                                    "sector and are left out",
                                    rest, sector_bytes));
  }
  return size - offset - rest;
}

}  // namespace latchkey::keyslots
