#include "engine/containers/vhd_footer_search.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/read_bytes.h"

namespace latchkey::engine {
namespace {

constexpr const char* kWhere = "vhd footer";
constexpr const char* kFrontWhere = "vhd footer copy";

struct Located {
  VhdFooter footer;
  std::uint64_t at = 0;
  std::uint64_t bytes = 0;
};

Result<bool> has_header_at(BlockDevice& file, std::uint64_t offset) {
  if (!file.in_range(offset, kVhdHeaderBytes)) return false;
  auto bytes = read_bytes(file, offset, kVhdHeaderBytes, "vhd dynamic header");
  if (!bytes) return std::move(bytes).error();
  const auto header = parse_vhd_header(*bytes);
  return header.has_value() && header->checksum_good;
}

// A footer that is not the last thing in the file could be a guest's data: a VHD kept inside the
// disk. It counts only with a good checksum, for a fixed disk where the disk ends close by, and for
// another where its header is.
Result<bool> believable_inside(BlockDevice& file, const VhdFooter& footer, std::uint64_t at) {
  if (!footer.checksum_good || !footer.sound()) return false;
  if (!footer.is(VhdType::kFixed)) return has_header_at(file, footer.data_offset);
  return footer.current_size <= at && at - footer.current_size <= kVhdSearchBytes;
}

// The last footer in the final kVhdSearchBytes.
Result<std::optional<Located>> search_end(BlockDevice& file) {
  const std::uint64_t size = file.size_bytes();
  if (size < kVhdOldFooterBytes) return std::optional<Located>();
  const std::uint64_t window_bytes = std::min(size, kVhdSearchBytes);
  const std::uint64_t window_at = size - window_bytes;
  auto window = read_bytes(file, window_at, window_bytes, "end of the file");
  if (!window) return std::move(window).error();
  const Bytes bytes(*window);
  for (std::uint64_t at = window_bytes - kVhdOldFooterBytes + 1; at-- > 0;) {
    const auto footer = parse_vhd_footer(bytes.subspan(at));
    if (!footer) continue;
    const std::uint64_t left = window_bytes - at;
    const bool last_thing = left <= kVhdFooterBytes;
    // Offset 0 belongs to the copy of a dynamic disk, unless there is nothing else in the file.
    if (window_at + at == 0 && !last_thing) break;
    auto believable =
        last_thing ? Result<bool>(true) : believable_inside(file, *footer, window_at + at);
    if (!believable) return std::move(believable).error();
    if (*believable) {
      return std::optional(Located{*footer, window_at + at, std::min(left, kVhdFooterBytes)});
    }
  }
  return std::optional<Located>();
}

Result<std::optional<Located>> read_front(BlockDevice& file) {
  if (file.size_bytes() < kVhdFooterBytes + kVhdHeaderBytes) return std::optional<Located>();
  auto bytes = read_bytes(file, 0, kVhdFooterBytes, kFrontWhere);
  if (!bytes) return std::move(bytes).error();
  const auto footer = parse_vhd_footer(*bytes);
  // A fixed disk has no copy: what is there then is the guest's first sector.
  if (!footer || footer->is(VhdType::kFixed)) return std::optional<Located>();
  return std::optional(Located{*footer, 0, kVhdFooterBytes});
}

Result<void> check_sound(const VhdFooter& footer) {
  if (footer.sound()) return {};
  if (!footer.checksum_good) {
    return Error(ErrorCode::kDamaged,
                 "vhd footer: its checksum is wrong and so is its version or disk type");
  }
  if (footer.major_version != 1) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("vhd footer: version {} is not known", footer.major_version));
  }
  return Error(ErrorCode::kNotSupported,
               fmt::format("vhd footer: disk type {} is not known", footer.type));
}

void refuse_writes(VhdIdentity& identity, std::string reason) {
  if (identity.read_only_reason.empty()) identity.read_only_reason = std::move(reason);
}

// A dynamic or differencing disk with both copies there.
VhdIdentity choose(const Located& end, const Located& front, Notices& notices) {
  VhdIdentity identity{end.footer, end.at, end.bytes, {}};
  const bool end_usable = end.footer.checksum_good && end.footer.sound();
  const bool front_usable = front.footer.checksum_good && front.footer.sound();
  if (!end_usable && front_usable) {
    notices.warn(kWhere, "its checksum is wrong; the copy at the start of the file is used");
    identity.footer = front.footer;
    refuse_writes(identity, "the vhd footer at the end of the file is damaged");
  } else if (end_usable && !front_usable) {
    notices.warn(kFrontWhere, "its checksum is wrong; the footer at the end of the file is used");
    refuse_writes(identity, "the vhd footer copy at the start of the file is damaged");
  } else if (!end_usable) {
    notices.warn(kWhere, "the checksums of both copies are wrong; opened read-only");
    if (!end.footer.sound()) identity.footer = front.footer;
    refuse_writes(identity, "the checksums of both vhd footers are wrong");
  } else if (!end.footer.same_disk(front.footer)) {
    notices.warn(kFrontWhere,
                 "it describes another disk than the footer at the end, which is used");
    refuse_writes(identity, "the two copies of the vhd footer differ");
  }
  return identity;
}

VhdIdentity only_front(const Located& front, Notices& notices) {
  VhdIdentity identity{front.footer, std::nullopt, 0, {}};
  notices.warn(kWhere,
               "missing at the end of the file, which may be cut short; the copy at the start of "
               "the file is used");
  if (!front.footer.checksum_good) {
    notices.warn(kFrontWhere, "its checksum is wrong; opened read-only");
    refuse_writes(identity, "the checksum of the only vhd footer is wrong");
  }
  return identity;
}

VhdIdentity only_end(const Located& end, Notices& notices) {
  VhdIdentity identity{end.footer, end.at, end.bytes, {}};
  if (!end.footer.checksum_good) {
    notices.warn(kWhere, "its checksum is wrong; opened read-only");
    refuse_writes(identity, "the checksum of the vhd footer is wrong");
  }
  if (!end.footer.is(VhdType::kFixed)) {
    notices.warn(kFrontWhere, "missing at the start of the file");
    refuse_writes(identity, "the vhd footer copy at the start of the file is damaged");
  }
  return identity;
}

}  // namespace

Result<std::optional<VhdIdentity>> find_vhd_footer(BlockDevice& file, Notices& notices) {
  auto end = search_end(file);
  if (!end) return std::move(end).error();
  auto front = read_front(file);
  if (!front) return std::move(front).error();
  const bool end_is_fixed =
      end->has_value() && (*end)->footer.is(VhdType::kFixed) && (*end)->footer.checksum_good;
  if (!end->has_value() && !front->has_value()) {
    // A dynamic disk whose both footers are gone still has its header, where most writers put it;
    // as a raw disk it would be wrong data.
    auto orphan = has_header_at(file, kVhdFooterBytes);
    if (!orphan) return std::move(orphan).error();
    if (!*orphan) return std::optional<VhdIdentity>();
    return Error(ErrorCode::kDamaged,
                 "vhd footer: a dynamic disk's header is there, both copies of its footer are not")
        .with_hint("copy or download the image again");
  }
  VhdIdentity identity;
  if (end->has_value() && front->has_value() && !end_is_fixed) {
    identity = choose(**end, **front, notices);
  } else if (end->has_value()) {
    identity = only_end(**end, notices);
  } else {
    identity = only_front(**front, notices);
  }
  if (auto sound = check_sound(identity.footer); !sound) return std::move(sound).error();
  return std::optional(std::move(identity));
}

}  // namespace latchkey::engine
