#include "keyslots/bitlocker/bitlocker_boot_sector.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include <fmt/format.h>

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kOemName = "-FVE-FS-"sv;
// 4967d63b-2e29-4ad8-8399-f6a339e3d001: three offsets follow.
constexpr std::string_view kGuid =
    "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"sv;
// 92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8: two more, of the conversion's recording.
constexpr std::string_view kEowGuid =
    "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8"sv;

// Where `guid` begins, if `offsets` numbers of 64 bits fit behind it.
std::optional<std::size_t> find_guid(Bytes sector, std::string_view guid, std::size_t offsets) {
  const Bytes wanted = engine::as_bytes(guid);
  const auto found = std::search(sector.begin(), sector.end(), wanted.begin(), wanted.end());
  const auto at = static_cast<std::size_t>(found - sector.begin());
  if (at + guid.size() + offsets * 8 > sector.size()) return std::nullopt;
  return at;
}

Result<void> read_geometry(Bytes sector, BitlockerBootSector& boot) {
  const std::uint32_t sector_bytes = load_le<std::uint16_t>(sector, 11);
  if (sector_bytes == 0) return {};
  if (sector_bytes < 512 || sector_bytes > 4096 || !std::has_single_bit(sector_bytes)) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("the boot sector says sectors of {} bytes", sector_bytes));
  }
  boot.sector_bytes = sector_bytes;
  // Above 128 the field is a negative power of two, as in NTFS: clusters of more than 64 KiB.
  const auto coded = std::to_integer<std::uint32_t>(sector[13]);
  const std::uint32_t sectors = coded <= 128 ? coded : 1U << std::min(256U - coded, 12U);
  if (std::has_single_bit(sectors)) boot.cluster_bytes = sector_bytes * sectors;
  return {};
}

}  // namespace

Result<std::optional<BitlockerBootSector>> parse_bitlocker_boot_sector(Bytes sector) {
  const auto eow_at = find_guid(sector, kEowGuid, 5);
  const auto guid_at = eow_at ? eow_at : find_guid(sector, kGuid, 3);
  const bool named = engine::starts_with(sector, 3, kOemName);
  if (!guid_at && !named) return std::optional<BitlockerBootSector>();

  BitlockerBootSector boot;
  if (auto done = read_geometry(sector, boot); !done) return std::move(done).error();
  if (guid_at) {
    for (std::size_t i = 0; i < 3; ++i) {
      boot.metadata_offsets.push_back(load_le<std::uint64_t>(sector, *guid_at + 16 + i * 8));
    }
    if (eow_at) {
      boot.eow_offsets = {load_le<std::uint64_t>(sector, *eow_at + 40),
                          load_le<std::uint64_t>(sector, *eow_at + 48)};
    }
    return std::optional(std::move(boot));
  }
  const auto cluster = load_le<std::uint64_t>(sector, 56);
  if (boot.cluster_bytes == 0 || cluster == 0 || cluster > UINT64_MAX / boot.cluster_bytes) {
    return Error(ErrorCode::kDamaged, "the boot sector does not say where the metadata is");
  }
  boot.vista = true;
  boot.metadata_offsets.push_back(cluster * boot.cluster_bytes);
  boot.volume_sectors = load_le<std::uint64_t>(sector, 40);
  return std::optional(std::move(boot));
}

}  // namespace latchkey::keyslots
