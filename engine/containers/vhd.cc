#include "engine/containers/vhd.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "engine/containers/vhd_block_table.h"
#include "engine/containers/vhd_dynamic_map.h"
#include "engine/containers/vhd_footer_search.h"
#include "engine/containers/vhd_format.h"
#include "engine/map_device.h"
#include "engine/piece_map.h"
#include "engine/read_bytes.h"

namespace latchkey::engine {
namespace {

constexpr const char* kWhere = "vhd";

Container describe(const VhdIdentity& identity) {
  const VhdFooter& footer = identity.footer;
  Container container;
  container.read_only_reason = identity.read_only_reason;
  container.facts.emplace_back("creator", footer.creator);
  container.facts.emplace_back("created", vhd_time_text(footer.created));
  container.facts.emplace_back("uuid", footer.uuid);
  // Readers disagree on which of the two is the disk's size; a person should see that they differ.
  if (footer.geometry_bytes() != footer.current_size) {
    container.facts.emplace_back("size field", fmt::format("{} bytes", footer.current_size));
    container.facts.emplace_back(
        "size by geometry",
        fmt::format("{} bytes ({} cylinders, {} heads, {} sectors)", footer.geometry_bytes(),
                    footer.cylinders, footer.heads, footer.sectors));
  }
  if (footer.saved_state) container.facts.emplace_back("saved state", "yes");
  return container;
}

// Whole sectors of what the footer declares, as far as `available` bytes hold them.
Result<std::uint64_t> usable_bytes(const VhdFooter& footer, std::uint64_t available,
                                   const std::string& holder, Container& container,
                                   Notices& notices) {
  const std::uint64_t declared = footer.disk_bytes();
  if (declared < kVhdSectorBytes) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("vhd footer: a disk size of {} bytes is not possible", declared));
  }
  if (declared % kVhdSectorBytes != 0) {
    notices.warn("vhd footer", fmt::format("the disk size {} is not a whole number of sectors; "
                                           "the last part of a sector is left out",
                                           declared));
  }
  if (declared > available) {
    notices.warn(kWhere, fmt::format("the footer declares {} bytes, {} holds {}; what is missing "
                                     "at the end of the disk is left out",
                                     declared, holder, available));
    if (container.read_only_reason.empty()) {
      container.read_only_reason = "the vhd file is shorter than its footer declares";
    }
  }
  const std::uint64_t usable = round_down(std::min(declared, available), kVhdSectorBytes);
  if (usable == 0) {
    return Error(ErrorCode::kDamaged, "vhd: not one whole sector of the disk is in the file")
        .with_hint("copy or download the image again");
  }
  return usable;
}

Geometry disk_geometry(const GrowableDevice& file, const Container& container,
                       std::uint64_t size_bytes) {
  return {.size_bytes = size_bytes,
          .sector_bytes = static_cast<std::uint32_t>(kVhdSectorBytes),
          .writable = file.writable() && container.read_only_reason.empty()};
}

Result<Container> open_fixed(const std::shared_ptr<GrowableDevice>& file,
                             const VhdIdentity& identity, Notices& notices) {
  Container container = describe(identity);
  container.format = "vhd";
  const std::uint64_t footer_at = *identity.footer_at;
  auto size = usable_bytes(identity.footer, footer_at, "the file", container, notices);
  if (!size) return std::move(size).error();
  const std::uint64_t padding = footer_at - std::min(footer_at, identity.footer.current_size);
  if (padding > 0) {
    notices.note(kWhere,
                 fmt::format("{} bytes between the disk and its footer are left out", padding));
  }
  auto map = std::make_unique<PieceMap>();
  map->data(0, 0, *size);
  container.disk = std::make_shared<MapDevice>(std::vector<DevicePtr>{file}, std::move(map),
                                               disk_geometry(*file, container, *size));
  return container;
}

Result<VhdDynamicHeader> read_header(BlockDevice& file, const VhdFooter& footer,
                                     Container& container, Notices& notices) {
  auto raw = read_bytes(file, footer.data_offset, kVhdHeaderBytes, "vhd dynamic header");
  if (!raw) return std::move(raw).error();
  const auto header = parse_vhd_header(*raw);
  if (!header) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("vhd dynamic header: not found at byte {}", footer.data_offset));
  }
  if (header->major_version != 1) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("vhd dynamic header: version {} is not known", header->major_version));
  }
  if (!header->checksum_good) {
    notices.warn("vhd dynamic header", "its checksum is wrong; opened read-only");
    if (container.read_only_reason.empty()) {
      container.read_only_reason = "the checksum of the vhd dynamic header is wrong";
    }
  }
  return *header;
}

Error refuse_differencing(const VhdDynamicHeader& header) {
  return Error(ErrorCode::kNotSupported,
               fmt::format("vhd: this is a differencing disk; without its parent \"{}\" its bytes "
                           "would be wrong",
                           header.parent_name))
      .with_hint("merge a copy of it with its parents first (Hyper-V: Merge-VHD), then open that");
}

Result<Container> open_dynamic(const std::shared_ptr<GrowableDevice>& file,
                               const VhdIdentity& identity, Notices& notices) {
  Container container = describe(identity);
  container.format = "vhd-dynamic";
  auto header = read_header(*file, identity.footer, container, notices);
  if (!header) return std::move(header).error();
  if (identity.footer.is(VhdType::kDifferencing)) return refuse_differencing(*header);
  if (header->block_bytes < kVhdSectorBytes || !std::has_single_bit(header->block_bytes)) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("vhd dynamic header: a block size of {} bytes is not possible",
                             header->block_bytes));
  }
  const std::uint64_t reach = std::uint64_t{header->table_entries} * header->block_bytes;
  auto size = usable_bytes(identity.footer, reach, "the block table", container, notices);
  if (!size) return std::move(size).error();

  const VhdBlockLayout layout{identity.footer.data_offset, header->table_offset,
                              header->block_bytes, *size, identity.footer_at};
  auto table = load_vhd_block_table(*file, layout, notices);
  if (!table) return std::move(table).error();
  container.facts.emplace_back("block size", fmt::format("{} bytes", header->block_bytes));
  container.facts.emplace_back("blocks allocated",
                               fmt::format("{} of {}", table->used, table->entries.size()));
  if (container.read_only_reason.empty() && table->bad > 0) {
    container.read_only_reason = "the vhd block table is damaged";
  }
  // An entry that straddles two sectors could be torn by a power cut. No writer is known to do
  // this.
  if (container.read_only_reason.empty() && layout.table_offset % sizeof(std::uint32_t) != 0) {
    container.read_only_reason = "the entries of the vhd block table are not aligned";
  }
  if (container.read_only_reason.empty() && table->beyond > 0) {
    container.read_only_reason = "the vhd file is cut short";
  }
  auto map = std::make_unique<VhdDynamicMap>(file, layout, table->entries, identity.footer.raw);
  container.disk = std::make_shared<MapDevice>(std::vector<DevicePtr>{file}, std::move(map),
                                               disk_geometry(*file, container, *size));
  return container;
}

}  // namespace

Result<std::optional<Container>> open_vhd(const std::shared_ptr<GrowableDevice>& file,
                                          Notices& notices) {
  auto identity = find_vhd_footer(*file, notices);
  if (!identity) return std::move(identity).error();
  if (!identity->has_value()) return std::optional<Container>();
  auto container = (*identity)->footer.is(VhdType::kFixed)
                       ? open_fixed(file, **identity, notices)
                       : open_dynamic(file, **identity, notices);
  if (!container) return std::move(container).error();
  return std::optional(std::move(*container));
}

}  // namespace latchkey::engine
