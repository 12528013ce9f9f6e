#include "keyslots/bitlocker/bitlocker_verify.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "engine/sector_cipher.h"
#include "keyslots/bitlocker/bitlocker_cipher.h"
#include "keyslots/bitlocker/bitlocker_unlock.h"
#include "keyslots/bitlocker/conversion_log.h"
#include "keyslots/digest.h"

namespace latchkey::keyslots {

using engine::BlockDevice;
using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kSealBytes = 32;
constexpr std::size_t kBootBytes = 512;
constexpr std::size_t kOemNameAt = 3;
constexpr std::size_t kMftMirrorAt = 56;
constexpr std::string_view kNtfsName = "NTFS    ";

// One sector of the plain view, read before there is a device for it.
struct Place {
  BitlockerPiece::Kind kind = BitlockerPiece::Kind::kBlank;
  std::uint64_t offset = 0;  // of the volume
};

Place place_of(const std::vector<BitlockerPiece>& pieces, std::uint64_t offset) {
  std::uint64_t start = 0;
  for (const BitlockerPiece& piece : pieces) {
    if (offset - start < piece.length) return {piece.kind, piece.offset + (offset - start)};
    start += piece.length;
  }
  return {};
}

std::uint64_t ntfs_table_offset(Bytes boot) {
  const std::uint64_t sector_bytes = load_le<std::uint16_t>(boot, 11);
  const auto coded = std::to_integer<std::uint64_t>(boot[13]);
  const std::uint64_t sectors =
      coded <= 128 ? coded : std::uint64_t{1} << std::min<std::uint64_t>(256 - coded, 31);
  const std::uint64_t cluster_bytes = sector_bytes * sectors;
  const auto cluster = load_le<std::uint64_t>(boot, 48);
  if (cluster_bytes == 0 || cluster > UINT64_MAX / cluster_bytes) return UINT64_MAX;
  return cluster * cluster_bytes;
}

Error not_this_key() {
  return {ErrorCode::kWrongKey, "the key does not fit"};
}

}  // namespace

bool bitlocker_seal_holds(const BitlockerMetadata& metadata, const SecretBytes& vmk) {
  if (metadata.sealed_hash.empty()) return false;
  const auto sealed = unseal_key(metadata.sealed_hash, vmk.span());
  if (!sealed || !*sealed || (*sealed)->key.size() != kSealBytes) return false;
  const auto digest = Digest::find("sha256");
  if (!digest) return false;
  Hasher hasher(*digest);
  std::vector<std::byte> hash(kSealBytes);
  return hasher.hash({metadata.info()}, hash) && (*sealed)->key.equals(hash);
}

bool is_boot_sector(Bytes sector) {
  constexpr std::size_t kMarkAt = 510;
  if (sector.size() < kMarkAt + 2 || load_le<std::uint16_t>(sector, kMarkAt) != 0xaa55)
    return false;
  return engine::starts_with(sector, kOemNameAt, kNtfsName) ||
         engine::starts_with(sector, kOemNameAt, "EXFAT   ") ||
         engine::starts_with(sector, 54, "FAT12   ") ||
         engine::starts_with(sector, 54, "FAT16   ") || engine::starts_with(sector, 82, "FAT32   ");
}

Result<SecretBytes> verify_bitlocker_fvek(BlockDevice& volume,
                                          const std::vector<BitlockerPiece>& pieces,
                                          std::uint32_t sector_bytes, BitlockerMethod method,
                                          Bytes raw_key) {
  auto key = bitlocker_cipher_key(method, raw_key);
  if (!key) return not_this_key();
  const auto spec = bitlocker_cipher(method, sector_bytes);
  if (!spec) return spec.error();
  const auto cipher = engine::make_sector_cipher(*spec, *key);
  if (!cipher) return cipher.error();
  const auto read_decrypted = [&](std::uint64_t offset) -> Result<std::vector<std::byte>> {
    auto sector = engine::read_bytes(volume, offset, sector_bytes, "first sector");
    if (sector) (*cipher)->decrypt(offset / sector_bytes, *sector, *sector);
    return sector;
  };
  const Place first = place_of(pieces, 0);
  if (first.kind == BitlockerPiece::Kind::kCipher) {
    auto sector = read_decrypted(first.offset);
    if (!sector) return std::move(sector).error();
    if (!is_boot_sector(*sector)) return not_this_key();
    return std::move(*key);
  }
  // In the clear (Vista, a conversion that is not finished): the file table must do.
  auto boot = engine::read_bytes(volume, first.offset, kBootBytes, "first sector");
  if (!boot) return std::move(boot).error();
  const std::uint64_t table = ntfs_table_offset(*boot);
  const Place record = place_of(pieces, table);
  if (record.kind != BitlockerPiece::Kind::kCipher || record.offset % sector_bytes != 0) {
    return not_this_key();
  }
  auto sector = read_decrypted(record.offset);
  if (!sector) return std::move(sector).error();
  if (!engine::starts_with(*sector, 0, "FILE")) return not_this_key();
  return std::move(*key);
}

std::string why_conversion_unreadable(BlockDevice& volume, const BitlockerMetadata& metadata) {
  constexpr std::string_view kLogSignature = "OLRDHEVF";
  constexpr std::uint32_t kHeaderAndCopyBytes = 1024;
  if (metadata.state != BitlockerState::kSwitchingDirty ||
      metadata.state_bytes <= kHeaderAndCopyBytes ||
      !volume.in_range(metadata.state_offset, metadata.state_bytes)) {
    return {};
  }
  std::array<std::byte, kLogSignature.size()> begin{};
  if (!volume.read(metadata.state_offset, begin).ok()) return "its conversion log cannot be read";
  if (!engine::starts_with(begin, 0, kLogSignature)) return {};
  engine::Notices notices;  // a watermark says how far it came, whatever the log has lost
  const ConversionLogPlace place{.offset = metadata.state_offset,
                                 .size_bytes = metadata.state_bytes,
                                 .slot_bytes = (metadata.state_bytes - kHeaderAndCopyBytes) / 2};
  const auto chunk = read_conversion_log(volume, place, notices);
  if (!chunk) return "its conversion log: " + chunk.error().message();
  if (!*chunk) return {};
  return fmt::format(
      "its conversion was cut off while the {} bytes at byte {} were half done; Windows finishes "
      "them when it unlocks the volume",
      (*chunk)->range.length, (*chunk)->range.offset);
}

Result<std::vector<std::byte>> vista_boot_sector(BlockDevice& volume,
                                                 const BitlockerMetadata& metadata,
                                                 std::uint64_t sector_bytes) {
  auto sector =
      engine::read_bytes(volume, 0, static_cast<std::size_t>(sector_bytes), "boot sector");
  if (!sector) return sector;
  if (sector->size() < kMftMirrorAt + 8) {
    return Error(ErrorCode::kDamaged, "the boot sector is cut short");
  }
  std::ranges::copy(engine::as_bytes(kNtfsName), sector->begin() + kOemNameAt);
  engine::store_le(engine::MutableBytes(*sector), kMftMirrorAt, metadata.mft_mirror_cluster);
  return sector;
}

}  // namespace latchkey::keyslots
