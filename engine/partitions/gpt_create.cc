#include "engine/partitions/gpt_create.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/crc32.h"

namespace latchkey::engine {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint32_t kEntries = 128;
constexpr std::uint32_t kEntryBytes = 128;
constexpr std::uint64_t kArraySectors = std::uint64_t{kEntries} * kEntryBytes / kSector;
constexpr std::uint32_t kNewHeaderBytes = 92;
constexpr std::uint64_t kFirstUsable = 2 + kArraySectors;

// UEFI stores the first three fields of a GUID little-endian.
void put_guid(MutableBytes into, std::size_t at, const GuidBytes& guid) {
  static constexpr std::array<std::size_t, 16> kOrder = {3, 2, 1,  0,  5,  4,  7,  6,
                                                         8, 9, 10, 11, 12, 13, 14, 15};
  for (std::size_t i = 0; i < guid.size(); ++i) into[at + i] = guid[kOrder[i]];
}

std::vector<std::byte> make_array(const NewGpt& gpt, const PlacedPartition& place) {
  std::vector<std::byte> array(kArraySectors * kSector);
  const MutableBytes into(array);
  put_guid(into, 0, gpt.type);
  put_guid(into, 16, gpt.partition_guid);
  store_le<std::uint64_t>(into, 32, place.offset / kSector);
  store_le<std::uint64_t>(into, 40, (place.offset + place.length) / kSector - 1);
  constexpr std::size_t kNewNameAt = 56;
  constexpr std::size_t kNameUnits = 35;
  for (std::size_t i = 0; i < std::min(gpt.name.size(), kNameUnits); ++i) {
    store_le<std::uint16_t>(into, kNewNameAt + 2 * i, static_cast<unsigned char>(gpt.name[i]));
  }
  return array;
}

struct HeaderPlace {
  std::uint64_t own;
  std::uint64_t other;
  std::uint64_t array;
};

std::vector<std::byte> make_header(const NewGpt& gpt, const HeaderPlace& at,
                                   std::uint64_t disk_sectors, std::uint32_t array_crc) {
  std::vector<std::byte> header(kSector);
  const MutableBytes into(header);
  const Bytes magic = as_bytes("EFI PART");
  std::copy(magic.begin(), magic.end(), header.begin());
  store_le<std::uint32_t>(into, 8, 0x00010000);
  store_le<std::uint32_t>(into, 12, kNewHeaderBytes);
  store_le<std::uint64_t>(into, 24, at.own);
  store_le<std::uint64_t>(into, 32, at.other);
  store_le<std::uint64_t>(into, 40, kFirstUsable);
  store_le<std::uint64_t>(into, 48, disk_sectors - kFirstUsable);
  put_guid(into, 56, gpt.disk_guid);
  store_le<std::uint64_t>(into, 72, at.array);
  store_le<std::uint32_t>(into, 80, kEntries);
  store_le<std::uint32_t>(into, 84, kEntryBytes);
  store_le<std::uint32_t>(into, 88, array_crc);
  store_le<std::uint32_t>(into, 16, crc32(Bytes(header).first(kNewHeaderBytes)));
  return header;
}

std::vector<std::byte> make_protective_mbr(std::uint64_t disk_sectors) {
  std::vector<std::byte> sector(kSector);
  const MutableBytes into(sector);
  constexpr std::size_t kEntryAt = 446;
  sector[kEntryAt + 2] = std::byte{2};  // it begins at cylinder 0, head 0, sector 2
  sector[kEntryAt + 4] = std::byte{0xee};
  std::fill_n(sector.begin() + kEntryAt + 5, 3, std::byte{0xff});
  store_le<std::uint32_t>(into, kEntryAt + 8, 1);
  store_le<std::uint32_t>(
      into, kEntryAt + 12,
      static_cast<std::uint32_t>(std::min<std::uint64_t>(disk_sectors - 1, 0xffffffff)));
  sector[510] = std::byte{0x55};
  sector[511] = std::byte{0xaa};
  return sector;
}

}  // namespace

Result<PlacedPartition> plan_new_gpt(std::uint64_t disk_bytes) {
  const std::uint64_t sectors = disk_bytes / kSector;
  const std::uint64_t backup_bytes = (kArraySectors + 1) * kSector;
  const std::uint64_t end =
      sectors * kSector < backup_bytes ? 0 : round_down(sectors * kSector - backup_bytes, kMiB);
  if (end <= kMiB) {
    return Error(ErrorCode::kUsage, fmt::format("a disk of {} bytes is too small for a partition "
                                                "table and a partition: 3 MiB are the least",
                                                disk_bytes));
  }
  return PlacedPartition{kMiB, end - kMiB};
}

Result<PlacedPartition> write_new_gpt(BlockDevice& disk, const NewGpt& gpt) {
  auto place = plan_new_gpt(disk.size_bytes());
  if (!place) return place;
  const std::uint64_t sectors = disk.size_bytes() / kSector;
  const auto array = make_array(gpt, *place);
  const std::uint32_t crc = crc32(array);
  const std::uint64_t last = sectors - 1;
  const std::uint64_t backup_array = last - kArraySectors;
  const struct {
    std::uint64_t sector;
    std::vector<std::byte> bytes;
  } writes[] = {{backup_array, array},
                {last, make_header(gpt, {last, 1, backup_array}, sectors, crc)},
                {2, array},
                {1, make_header(gpt, {1, last, 2}, sectors, crc)},
                {0, make_protective_mbr(sectors)}};
  for (const auto& write : writes) {
    if (auto s = disk.write(write.sector * kSector, write.bytes); !s.ok()) {
      return Error::system("cannot write the partition table", s.sys_errno());
    }
  }
  if (auto s = disk.flush(); !s.ok()) {
    return Error::system("cannot sync the partition table", s.sys_errno());
  }
  return place;
}

}  // namespace latchkey::engine
