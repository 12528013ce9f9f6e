#include "engine/containers/vhd_format.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "engine/guid.h"
#include "engine/utf16.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kParentNameAt = 64;
constexpr std::size_t kParentNameBytes = 512;

}  // namespace

std::uint32_t vhd_checksum(Bytes of, std::size_t field) noexcept {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < of.size(); ++i) {
    if (i < field || i >= field + 4) sum += std::to_integer<std::uint32_t>(of[i]);
  }
  return ~sum;
}

bool VhdFooter::sound() const noexcept {
  return major_version == 1 && type >= static_cast<std::uint32_t>(VhdType::kFixed) &&
         type <= static_cast<std::uint32_t>(VhdType::kDifferencing);
}

std::uint64_t VhdFooter::geometry_bytes() const noexcept {
  return std::uint64_t{cylinders} * heads * sectors * kVhdSectorBytes;
}

bool VhdFooter::guest_saw_geometry() const noexcept {
  constexpr std::uint64_t kMaxGeometry = std::uint64_t{65535} * 16 * 255 * kVhdSectorBytes;
  return creator == "vpc " && geometry_bytes() > 0 && geometry_bytes() < kMaxGeometry;
}

std::uint64_t VhdFooter::disk_bytes() const noexcept {
  return guest_saw_geometry() ? std::min(geometry_bytes(), current_size) : current_size;
}

bool VhdFooter::same_disk(const VhdFooter& other) const noexcept {
  return type == other.type && data_offset == other.data_offset &&
         current_size == other.current_size && uuid == other.uuid;
}

std::optional<VhdFooter> parse_vhd_footer(Bytes from) {
  if (from.size() < kVhdOldFooterBytes || !starts_with(from, 0, "conectix")) return std::nullopt;
  from = from.first(std::min(from.size(), kVhdFooterBytes));
  VhdFooter footer;
  std::ranges::copy(from, footer.raw.begin());
  footer.major_version = load_be<std::uint16_t>(from, 12);
  footer.data_offset = load_be<std::uint64_t>(from, 16);
  footer.created = load_be<std::uint32_t>(from, 24);
  footer.creator = printable(text_field(from, 28, 4));
  footer.original_size = load_be<std::uint64_t>(from, 40);
  footer.current_size = load_be<std::uint64_t>(from, 48);
  footer.cylinders = load_be<std::uint16_t>(from, 56);
  footer.heads = std::to_integer<std::uint32_t>(from[58]);
  footer.sectors = std::to_integer<std::uint32_t>(from[59]);
  footer.type = load_be<std::uint32_t>(from, 60);
  footer.checksum_good = load_be<std::uint32_t>(from, kVhdFooterChecksumAt) ==
                         vhd_checksum(from, kVhdFooterChecksumAt);
  footer.uuid = uuid_text(from, 68);
  footer.saved_state = from[84] != std::byte{0};
  return footer;
}

std::optional<VhdDynamicHeader> parse_vhd_header(Bytes from) {
  if (from.size() < kVhdHeaderBytes || !starts_with(from, 0, "cxsparse")) return std::nullopt;
  from = from.first(kVhdHeaderBytes);
  VhdDynamicHeader header;
  header.table_offset = load_be<std::uint64_t>(from, 16);
  header.major_version = load_be<std::uint16_t>(from, 24);
  header.table_entries = load_be<std::uint32_t>(from, 28);
  header.block_bytes = load_be<std::uint32_t>(from, 32);
  header.checksum_good = load_be<std::uint32_t>(from, kVhdHeaderChecksumAt) ==
                         vhd_checksum(from, kVhdHeaderChecksumAt);
  header.parent_name = utf16_text(from.subspan(kParentNameAt, kParentNameBytes), std::endian::big);
  return header;
}

std::string vhd_time_text(std::uint32_t seconds_since_2000) {
  using std::chrono::sys_days;
  using std::chrono::year;
  const auto then = sys_days(year(2000) / 1 / 1) + std::chrono::seconds(seconds_since_2000);
  const auto day = std::chrono::floor<std::chrono::days>(then);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(then - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

}  // namespace latchkey::engine
