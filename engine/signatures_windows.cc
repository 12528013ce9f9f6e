// NTFS, FAT, exFAT and BitLocker.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "engine/signature_probes.h"
#include "engine/utf16.h"

namespace latchkey::engine {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kMaxMftRecordBytes = 4096;
constexpr std::uint32_t kMftVolumeName = 0x60;
constexpr std::uint32_t kMftVolumeInformation = 0x70;
constexpr std::uint32_t kMftEnd = 0xffffffff;
constexpr std::uint16_t kNtfsVolumeDirty = 0x0001;

// A record's last two bytes of each 512 are kept in its update sequence; puts them back. False
// where they do not match: the record was torn.
bool apply_fixups(MutableBytes record) {
  const auto sequence_at = load_le<std::uint16_t>(record, 4);
  const auto count = load_le<std::uint16_t>(record, 6);
  if (count != record.size() / 512 + 1) return false;
  if (sequence_at > record.size() || std::size_t{count} * 2 > record.size() - sequence_at) {
    return false;
  }
  for (std::size_t i = 1; i < count; ++i) {
    const std::size_t tail = i * 512 - 2;
    if (record[tail] != record[sequence_at] || record[tail + 1] != record[sequence_at + 1u]) {
      return false;
    }
    record[tail] = record[sequence_at + 2 * i];
    record[tail + 1] = record[sequence_at + 2 * i + 1];
  }
  return true;
}

// Label and dirty mark are attributes of the file $Volume, record 3 of the MFT.
void read_ntfs_volume(Bytes record, ContentSignature& signature) {
  std::size_t at = load_le<std::uint16_t>(record, 20);
  while (at + 24 <= record.size()) {
    const auto type = load_le<std::uint32_t>(record, at);
    const auto length = load_le<std::uint32_t>(record, at + 4);
    if (type == kMftEnd || length < 24 || length > record.size() - at) return;
    const bool resident = record[at + 8] == std::byte{0};
    const auto value_bytes = load_le<std::uint32_t>(record, at + 16);
    const auto value_at = load_le<std::uint16_t>(record, at + 20);
    if (resident && value_at <= length && value_bytes <= length - value_at) {
      const Bytes value = record.subspan(at + value_at, value_bytes);
      if (type == kMftVolumeName) signature.label = utf16_text(value, std::endian::little);
      if (type == kMftVolumeInformation && value.size() >= 12) {
        signature.needs_recovery = (load_le<std::uint16_t>(value, 10) & kNtfsVolumeDirty) != 0;
      }
    }
    at += length;
  }
}

// Sizes below a cluster are kept as a negative power of two.
std::uint64_t ntfs_unit_bytes(std::uint8_t coded, std::uint64_t unit_bytes) {
  const auto value = static_cast<std::int8_t>(coded);
  if (value > 0) return static_cast<std::uint64_t>(value) * unit_bytes;
  return value > -31 && value < 0 ? std::uint64_t{1} << -value : 0;
}

void read_ntfs_details(const ProbeView& view, Bytes boot, ContentSignature& signature) {
  const std::uint64_t sector_bytes = load_le<std::uint16_t>(boot, 11);
  const auto coded_cluster = std::to_integer<std::uint8_t>(boot[13]);
  // Clusters above 64 KiB are coded like record sizes, in sectors instead of bytes.
  const std::uint64_t sectors =
      coded_cluster <= 128 ? coded_cluster : std::uint64_t{1} << std::min(256 - coded_cluster, 31);
  const std::uint64_t cluster_bytes = sector_bytes * sectors;
  const std::uint64_t record_bytes =
      ntfs_unit_bytes(std::to_integer<std::uint8_t>(boot[64]), cluster_bytes);
  if (cluster_bytes == 0 || record_bytes < 512 || record_bytes > kMaxMftRecordBytes ||
      record_bytes % 512 != 0) {
    return;
  }
  const auto mft_cluster = load_le<std::uint64_t>(boot, 48);
  if (mft_cluster > view.size_bytes() / cluster_bytes) return;
  std::array<std::byte, kMaxMftRecordBytes> held;
  const auto record = std::span(held).first(record_bytes);
  if (!view.read(mft_cluster * cluster_bytes + 3 * record_bytes, record)) return;
  if (starts_with(record, 0, "FILE") && apply_fixups(record)) read_ntfs_volume(record, signature);
}

struct FatLayout {
  std::uint32_t sector_bytes = 0;
  std::uint32_t reserved_sectors = 0;
  std::uint64_t clusters = 0;
  bool fat32 = false;
};

// The fields that must be possible together; FAT has no magic number that all its makers write.
std::optional<FatLayout> parse_fat(Bytes boot) {
  FatLayout layout;
  const auto jump = std::to_integer<std::uint8_t>(boot[0]);
  layout.sector_bytes = load_le<std::uint16_t>(boot, 11);
  const std::uint32_t cluster_sectors = std::to_integer<std::uint32_t>(boot[13]);
  layout.reserved_sectors = load_le<std::uint16_t>(boot, 14);
  const std::uint32_t fats = std::to_integer<std::uint32_t>(boot[16]);
  const std::uint32_t root_entries = load_le<std::uint16_t>(boot, 17);
  const auto media = std::to_integer<std::uint8_t>(boot[21]);
  const std::uint32_t small_fat = load_le<std::uint16_t>(boot, 22);
  const std::uint32_t small_total = load_le<std::uint16_t>(boot, 19);
  const std::uint64_t total = small_total != 0 ? small_total : load_le<std::uint32_t>(boot, 32);
  const std::uint64_t fat_sectors = small_fat != 0 ? small_fat : load_le<std::uint32_t>(boot, 36);
  if (jump != 0xeb && jump != 0xe9) return std::nullopt;
  if (layout.sector_bytes < 512 || layout.sector_bytes > 4096 ||
      !std::has_single_bit(layout.sector_bytes) || !std::has_single_bit(cluster_sectors) ||
      layout.reserved_sectors == 0 || fats == 0 || fats > 2 || fat_sectors == 0) {
    return std::nullopt;
  }
  if (media != 0xf0 && media < 0xf8) return std::nullopt;
  layout.fat32 = small_fat == 0;
  if (layout.fat32 != (root_entries == 0)) return std::nullopt;
  const std::uint64_t overhead =
      layout.reserved_sectors + fats * fat_sectors +
      (std::uint64_t{root_entries} * 32 + layout.sector_bytes - 1) / layout.sector_bytes;
  if (total <= overhead) return std::nullopt;
  layout.clusters = (total - overhead) / cluster_sectors;
  return layout;
}

// Windows clears a bit of the table's second entry while a volume is mounted, Linux sets one in the
// boot sector. FAT12 has neither.
bool fat_dirty(const ProbeView& view, Bytes boot, const FatLayout& layout) {
  constexpr std::uint64_t kMaxFat12Clusters = 4084;
  const std::size_t state_at = layout.fat32 ? 65 : 37;
  if ((std::to_integer<unsigned>(boot[state_at]) & 1) != 0) return true;
  if (!layout.fat32 && layout.clusters <= kMaxFat12Clusters) return false;
  std::array<std::byte, 8> entries;
  if (!view.read(std::uint64_t{layout.reserved_sectors} * layout.sector_bytes, entries)) {
    return false;
  }
  return layout.fat32 ? (load_le<std::uint32_t>(entries, 4) & 0x08000000) == 0
                      : (load_le<std::uint16_t>(entries, 2) & 0x8000) == 0;
}

std::string serial_text(std::uint32_t serial) {
  return fmt::format("{:04X}-{:04X}", serial >> 16, serial & 0xffff);
}

// The label is an entry of the root directory.
std::string exfat_label(const ProbeView& view, Bytes boot) {
  const std::uint64_t heap_sector = load_le<std::uint32_t>(boot, 88);
  const std::uint64_t root_cluster = load_le<std::uint32_t>(boot, 96);
  const auto sector_bits = std::to_integer<unsigned>(boot[108]);
  const auto cluster_bits = std::to_integer<unsigned>(boot[109]);
  if (sector_bits < 9 || sector_bits > 12 || cluster_bits > 25 - sector_bits || root_cluster < 2) {
    return {};
  }
  const std::uint64_t offset =
      (heap_sector << sector_bits) + ((root_cluster - 2) << (sector_bits + cluster_bits));
  std::array<std::byte, 512> entries;
  if (!view.read(offset, entries)) return {};
  for (std::size_t at = 0; at < entries.size(); at += 32) {
    const auto type = std::to_integer<unsigned>(entries[at]);
    if (type == 0) break;
    if (type != 0x83) continue;
    const std::size_t units =
        std::min<std::size_t>(std::to_integer<std::size_t>(entries[at + 1]), 11);
    return utf16_text(Bytes(entries).subspan(at + 2, 2 * units), std::endian::little);
  }
  return {};
}

}  // namespace

// By its OEM name, or where the boot sector looks like a FAT's or an exFAT's (To Go), by one of the
// GUIDs in front of the metadata's offsets. Windows looks for them anywhere in the sector.
std::optional<ContentSignature> probe_bitlocker(const ProbeView& view) {
  constexpr std::string_view kGuid =
      "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"sv;
  constexpr std::string_view kEowGuid =
      "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8"sv;
  constexpr std::size_t kOffsets = 3 * sizeof(std::uint64_t);
  constexpr std::size_t kEowOffsets = 5 * sizeof(std::uint64_t);
  const auto boot = view.head(0, 512);
  if (!boot) return std::nullopt;
  const auto holds = [&](std::string_view guid, std::size_t offsets) {
    const Bytes wanted = as_bytes(guid);
    const Bytes where = boot->first(boot->size() - offsets);
    return std::search(where.begin(), where.end(), wanted.begin(), wanted.end()) != where.end();
  };
  if (!starts_with(*boot, 3, "-FVE-FS-") && !holds(kGuid, kOffsets) &&
      !holds(kEowGuid, kEowOffsets)) {
    return std::nullopt;
  }
  ContentSignature signature;
  signature.type = "BitLocker";
  return signature;
}

std::optional<ContentSignature> probe_ntfs(const ProbeView& view) {
  const auto boot = view.head(0, 512);
  if (!boot || !starts_with(*boot, 3, "NTFS    ")) return std::nullopt;
  const std::uint32_t sector_bytes = load_le<std::uint16_t>(*boot, 11);
  if (sector_bytes < 256 || sector_bytes > 4096 || !std::has_single_bit(sector_bytes)) {
    return std::nullopt;
  }
  ContentSignature signature;
  signature.type = "ntfs";
  signature.uuid = fmt::format("{:016X}", load_le<std::uint64_t>(*boot, 72));
  read_ntfs_details(view, *boot, signature);
  return signature;
}

std::optional<ContentSignature> probe_exfat(const ProbeView& view) {
  const auto boot = view.head(0, 512);
  if (!boot || !starts_with(*boot, 3, "EXFAT   ")) return std::nullopt;
  ContentSignature signature;
  signature.type = "exfat";
  signature.label = exfat_label(view, *boot);
  signature.uuid = serial_text(load_le<std::uint32_t>(*boot, 100));
  signature.needs_recovery = (load_le<std::uint16_t>(*boot, 106) & 0x2) != 0;
  return signature;
}

std::optional<ContentSignature> probe_vfat(const ProbeView& view) {
  const auto boot = view.head(0, 512);
  if (!boot) return std::nullopt;
  const auto layout = parse_fat(*boot);
  if (!layout) return std::nullopt;
  const std::size_t extended_at = layout->fat32 ? 64 : 36;  // drive number, state, then 0x29
  ContentSignature signature;
  signature.type = "vfat";
  const auto extended = std::to_integer<unsigned>((*boot)[extended_at + 2]);
  if (extended == 0x28 || extended == 0x29) {
    signature.uuid = serial_text(load_le<std::uint32_t>(*boot, extended_at + 3));
  }
  if (extended == 0x29) {
    const auto* label = reinterpret_cast<const char*>(boot->data() + extended_at + 7);
    signature.label = label_text({label, 11});
    if (signature.label == "NO NAME") signature.label.clear();
  }
  signature.needs_recovery = fat_dirty(view, *boot, *layout);
  return signature;
}

}  // namespace latchkey::engine
