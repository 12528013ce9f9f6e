#include "engine/containers/vhd_create.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "engine/containers/vhd_format.h"

namespace latchkey::engine {
namespace {

constexpr std::uint64_t kBlockBytes = std::uint64_t{2} << 20;  // what every writer uses
constexpr std::uint64_t kHeaderAt = kVhdFooterBytes;           // behind the footer's copy
constexpr std::uint64_t kTableAt = kHeaderAt + kVhdHeaderBytes;
constexpr std::uint32_t kVersion = 0x00010000;
constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
// Blocks are found by 32-bit sector numbers, bitmaps and all; Hyper-V draws the line here.
constexpr std::uint64_t kMostDynamicBytes = std::uint64_t{2040} << 30;

std::uint64_t table_entries(std::uint64_t disk_bytes) {
  return (disk_bytes + kBlockBytes - 1) / kBlockBytes;
}
std::uint64_t table_bytes(std::uint64_t disk_bytes) {
  return round_up(table_entries(disk_bytes) * sizeof(std::uint32_t), kVhdSectorBytes);
}

void put_text(MutableBytes into, std::size_t at, std::string_view text) {
  const Bytes from = as_bytes(text);
  std::copy(from.begin(), from.end(), into.begin() + static_cast<std::ptrdiff_t>(at));
}

std::array<std::byte, kVhdFooterBytes> make_footer(const NewVhd& vhd) {
  std::array<std::byte, kVhdFooterBytes> footer{};
  const MutableBytes into(footer);
  const bool fixed = vhd.kind == VhdKind::kFixed;
  put_text(into, 0, "conectix");
  store_be<std::uint32_t>(into, 8, 2);  // features: the bit that is always set
  store_be<std::uint32_t>(into, 12, kVersion);
  store_be<std::uint64_t>(into, 16, fixed ? kNowhere : kHeaderAt);
  store_be<std::uint32_t>(into, 24, vhd.created_seconds);
  put_text(into, 28, "win ");
  store_be<std::uint32_t>(into, 32, 0x000a0000);
  put_text(into, 36, "Wi2k");
  store_be<std::uint64_t>(into, 40, vhd.disk_bytes);
  store_be<std::uint64_t>(into, 48, vhd.disk_bytes);
  const VhdChs chs = vhd_chs_of(vhd.disk_bytes / kVhdSectorBytes);
  store_be<std::uint16_t>(into, 56, chs.cylinders);
  footer[58] = static_cast<std::byte>(chs.heads);
  footer[59] = static_cast<std::byte>(chs.sectors);
  store_be<std::uint32_t>(into, 60,
                          static_cast<std::uint32_t>(fixed ? VhdType::kFixed : VhdType::kDynamic));
  std::copy(vhd.uuid.begin(), vhd.uuid.end(), footer.begin() + 68);
  store_be<std::uint32_t>(into, kVhdFooterChecksumAt, vhd_checksum(footer, kVhdFooterChecksumAt));
  return footer;
}

std::array<std::byte, kVhdHeaderBytes> make_header(const NewVhd& vhd) {
  std::array<std::byte, kVhdHeaderBytes> header{};
  const MutableBytes into(header);
  put_text(into, 0, "cxsparse");
  store_be<std::uint64_t>(into, 8, kNowhere);
  store_be<std::uint64_t>(into, 16, kTableAt);
  store_be<std::uint32_t>(into, 24, kVersion);
  store_be<std::uint32_t>(into, 28, static_cast<std::uint32_t>(table_entries(vhd.disk_bytes)));
  store_be<std::uint32_t>(into, 32, static_cast<std::uint32_t>(kBlockBytes));
  store_be<std::uint32_t>(into, kVhdHeaderChecksumAt, vhd_checksum(header, kVhdHeaderChecksumAt));
  return header;
}

Result<void> written(IoStatus status, const char* what) {
  if (status.ok()) return {};
  return Error::system(fmt::format("cannot write the {}", what), status.sys_errno());
}

}  // namespace

Result<void> check_new_vhd(const NewVhd& vhd) {
  if (vhd.disk_bytes == 0 || vhd.disk_bytes % kVhdSectorBytes != 0) {
    return Error(ErrorCode::kUsage, fmt::format("a vhd of {} bytes: its size has to be a whole "
                                                "number of 512-byte sectors",
                                                vhd.disk_bytes));
  }
  if (vhd.kind == VhdKind::kDynamic && vhd.disk_bytes > kMostDynamicBytes) {
    return Error(ErrorCode::kUsage, "a dynamic vhd holds 2040 GiB at the most")
        .with_hint("a fixed one may be larger: --container vhd");
  }
  return {};
}

VhdChs vhd_chs_of(std::uint64_t disk_sectors) {
  constexpr std::uint64_t kMost = std::uint64_t{65535} * 16 * 255;
  const auto chs = [](std::uint64_t cylinder_times_heads, std::uint64_t heads,
                      std::uint64_t sectors) {
    return VhdChs{static_cast<std::uint16_t>(cylinder_times_heads / heads),
                  static_cast<std::uint8_t>(heads), static_cast<std::uint8_t>(sectors)};
  };
  const std::uint64_t total = std::min(disk_sectors, kMost);
  if (total >= std::uint64_t{65535} * 16 * 63) return chs(total / 255, 16, 255);
  const std::uint64_t few = total / 17;
  const std::uint64_t heads = std::max<std::uint64_t>((few + 1023) / 1024, 4);
  if (few < heads * 1024 && heads <= 16) return chs(few, heads, 17);
  if (total / 31 < std::uint64_t{16} * 1024) return chs(total / 31, 16, 31);
  return chs(total / 63, 16, 63);
}

std::uint64_t new_vhd_file_bytes(const NewVhd& vhd) {
  if (vhd.kind == VhdKind::kFixed) return vhd.disk_bytes + kVhdFooterBytes;
  return kTableAt + table_bytes(vhd.disk_bytes) + kVhdFooterBytes;
}

Result<void> create_vhd(GrowableDevice& file, const NewVhd& vhd) {
  if (auto r = check_new_vhd(vhd); !r) return r;
  const std::uint64_t file_bytes = new_vhd_file_bytes(vhd);
  if (auto r = written(file.grow_to(file_bytes), "vhd: its file cannot grow"); !r) return r;
  const auto footer = make_footer(vhd);
  if (vhd.kind == VhdKind::kDynamic) {
    const auto header = make_header(vhd);
    const std::vector<std::byte> table(table_bytes(vhd.disk_bytes), std::byte{0xff});
    if (auto r = written(file.write(kHeaderAt, header), "vhd dynamic header"); !r) return r;
    if (auto r = written(file.write(kTableAt, table), "vhd block table"); !r) return r;
    if (auto r = written(file.write(0, footer), "vhd footer's copy"); !r) return r;
  }
  if (auto r = written(file.write(file_bytes - kVhdFooterBytes, footer), "vhd footer"); !r) {
    return r;
  }
  return written(file.flush(), "vhd: it cannot be synced");
}

}  // namespace latchkey::engine
