#include "tests/support/bitlocker_builder.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/support/bitlocker_crypto.h"
#include "tests/support/bitlocker_dataset.h"
#include "tests/support/bitlocker_recording.h"

namespace latchkey::test {
namespace {

constexpr std::size_t kLeastBytes = std::size_t{1} << 20;
constexpr std::array<unsigned char, 16> kIdentifier = {
    0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01};
constexpr std::array<unsigned char, 16> kEowIdentifier = {
    0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd, 0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3, 0x28, 0x4e, 0xae, 0xd8};

void place(const FveSpec& spec, FveVolume& volume) {
  const std::uint64_t size = volume.plain.size();
  const std::uint64_t unit = std::max<std::uint64_t>(4096, spec.sector_bytes);
  volume.metadata = spec.metadata;
  for (std::size_t i = 0; i < 3; ++i) {
    if (volume.metadata[i] == 0) volume.metadata[i] = size * (i + 1) / 4 / unit * unit;
  }
  volume.relocated = spec.relocated != 0 ? spec.relocated : volume.metadata[0] + kFveMetadataBytes;
  volume.relocated_bytes = spec.relocated_sectors != 0
                               ? std::uint64_t{spec.relocated_sectors} * spec.sector_bytes
                               : 8192;
  volume.eow = {volume.relocated + volume.relocated_bytes, volume.metadata[1] + kFveMetadataBytes};
}

void put_boot_sector(const FveSpec& spec, const FveVolume& volume, std::byte* sector) {
  ByteVector boot(512);
  static constexpr std::array<std::string_view, 3> kNames = {"-FVE-FS-", "MSWIN4.1", "EXFAT   "};
  const bool fixed = spec.front == FveFront::kFixed;
  const bool exfat = spec.front == FveFront::kExfat;
  fve_put(boot, 0, exfat ? 0x9076eb : 0x9058eb, 3);
  std::memcpy(boot.data() + 3, kNames.at(static_cast<std::size_t>(spec.front)).data(), 8);
  if (!exfat) {
    fve_put(boot, 11, spec.sector_bytes, 2);
    fve_put(boot, 13, 4096 / spec.sector_bytes, 1);
    fve_put(boot, 21, 0xf8, 1);
    fve_put(boot, 24, 0x00ff003f, 4);
  } else {
    fve_put(boot, 72, volume.plain.size() / spec.sector_bytes, 8);
    fve_put(boot, 104, 0x0100, 2);
    fve_put(boot, 108, spec.sector_bytes == 4096 ? 12 : 9, 1);
    fve_put(boot, 109, spec.sector_bytes == 4096 ? 0 : 3, 1);
    fve_put(boot, 110, 1, 1);
  }
  if (spec.front == FveFront::kFat) {
    fve_put(boot, 14, 33, 2);
    fve_put(boot, 16, 1, 1);
    fve_put(boot, 32, volume.plain.size() / spec.sector_bytes, 4);
    std::memcpy(boot.data() + 82, "FAT32   ", 8);
  }
  const std::size_t at = fixed ? 160 : 424;
  const auto& identifier = spec.eow_identifier ? kEowIdentifier : kIdentifier;
  std::memcpy(boot.data() + at, identifier.data(), identifier.size());
  for (std::size_t i = 0; i < 3; ++i) fve_put(boot, at + 16 + 8 * i, volume.metadata[i], 8);
  if (spec.eow_identifier) {
    fve_put(boot, at + 40, volume.eow[0], 8);
    fve_put(boot, at + 48, volume.eow[1], 8);
  }
  fve_put(boot, 510, 0xaa55, 2);
  std::memcpy(sector, boot.data(), boot.size());
}

// Sectors of the plaintext go where a reader looks for them; those of the front stay behind as
// the front's own bytes.
void put_sectors(const FveSpec& spec, const FveRecorder& recorder, FveVolume& volume) {
  const std::uint64_t step = spec.sector_bytes;
  const bool decrypted = spec.method == FveMethod::kNone;
  const std::uint64_t converted =
      decrypted ? 0 : spec.converted_below.value_or(volume.plain.size());
  std::mt19937_64 cover(spec.seed + 1);
  for (std::uint64_t at = 0; at < volume.relocated_bytes; ++at) {
    volume.image[at] = static_cast<std::byte>(cover() & 0xff);
  }
  for (std::uint64_t at = 0; at < volume.plain.size(); at += step) {
    const bool moved = at < volume.relocated_bytes;
    if (!moved && at >= volume.relocated && at < volume.relocated + volume.relocated_bytes) {
      continue;
    }
    const std::uint64_t physical = moved ? volume.relocated + at : at;
    std::memcpy(volume.image.data() + physical, volume.plain.data() + at, step);
    if (physical >= converted || recorder.is_plain(physical)) continue;
    fve_encrypt_sector(spec.method, volume.fvek, physical, volume.image.data() + physical,
                       spec.sector_bytes);
  }
}

void hide(FveVolume& volume, std::uint64_t offset, std::uint64_t bytes) {
  if (offset % volume.sector_bytes != 0 || offset + bytes > volume.plain.size()) std::abort();
  std::memset(volume.plain.data() + offset, 0, bytes);
}

}  // namespace

FveVolume make_bitlocker(const FveSpec& spec, const ByteVector& plain) {
  if (plain.size() < kLeastBytes || plain.size() % spec.sector_bytes != 0) std::abort();
  FveVolume volume;
  volume.sector_bytes = spec.sector_bytes;
  volume.plain = plain;
  volume.image.resize(plain.size());
  place(spec, volume);
  const ByteVector copy = make_fve_copy(spec, volume);
  FveRecorder recorder(spec, volume);
  for (const std::uint64_t at : volume.metadata) hide(volume, at, kFveMetadataBytes);
  hide(volume, volume.relocated, volume.relocated_bytes);
  if (spec.log_bytes != 0) hide(volume, spec.converted_below.value(), spec.log_bytes);
  for (const FveRecorder::Area& area : recorder.areas()) hide(volume, area.offset, area.length);
  put_sectors(spec, recorder, volume);
  recorder.write();
  put_boot_sector(spec, volume, volume.image.data());
  for (unsigned i = 0; i < 3; ++i) {
    std::memcpy(volume.image.data() + volume.metadata.at(i), copy.data(), copy.size());
    seal_fve_copy(volume, i);
  }
  return volume;
}

ByteVector ntfs_like(std::size_t bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  ByteVector plain(bytes);
  for (std::byte& byte : plain) byte = static_cast<std::byte>(random() & 0xff);
  ByteVector boot(512);
  fve_put(boot, 0, 0x9052eb, 3);
  std::memcpy(boot.data() + 3, "NTFS    ", 8);
  fve_put(boot, 11, 512, 2);
  fve_put(boot, 13, 8, 1);
  fve_put(boot, 21, 0xf8, 1);
  fve_put(boot, 36, 0x00800080, 4);
  fve_put(boot, 40, bytes / 512 - 1, 8);
  fve_put(boot, 48, 4, 8);
  fve_put(boot, 56, 8, 8);
  fve_put(boot, 64, 0xf6, 1);
  fve_put(boot, 68, 1, 1);
  fve_put(boot, 72, seed, 8);
  fve_put(boot, 510, 0xaa55, 2);
  std::copy(boot.begin(), boot.end(), plain.begin());
  return plain;
}

}  // namespace latchkey::test
