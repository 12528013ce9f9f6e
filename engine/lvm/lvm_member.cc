#include "engine/lvm/lvm_member.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "engine/crc32.h"
#include "engine/lvm/lvm_text.h"
#include "engine/read_bytes.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kSectorBytes = 512;
constexpr std::size_t kLabelSectors = 4;
constexpr std::size_t kUuidBytes = 32;
constexpr std::size_t kMdaHeaderBytes = 512;
constexpr std::string_view kMdaMagic = " LVM2 x[5A%r0N*>";
constexpr std::size_t kRawLocationsAt = 40;
constexpr std::uint32_t kLocationIgnored = 1;
constexpr std::size_t kMaxMetadataAreas = 2;  // pvcreate(8), --pvmetadatacopies

Error damaged(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

// Pairs of offset and length up to a pair of zeros. Nothing where the list leaves the sector.
std::optional<std::vector<LvmArea>> read_areas(Bytes sector, std::size_t& at) {
  std::vector<LvmArea> out;
  for (; at + 16 <= sector.size(); at += 16) {
    const LvmArea area{load_le<std::uint64_t>(sector, at), load_le<std::uint64_t>(sector, at + 8)};
    if (area.offset == 0) {
      at += 16;
      return out;
    }
    out.push_back(area);
  }
  return std::nullopt;
}

Result<LvmMember> parse_label(Bytes sector, std::uint64_t number) {
  if (load_le<std::uint64_t>(sector, 8) != number) {
    return damaged(fmt::format("lvm label: it was written for sector {}, not {}",
                               load_le<std::uint64_t>(sector, 8), number));
  }
  if (load_le<std::uint32_t>(sector, 16) != lvm_crc(sector.subspan(20))) {
    return damaged("lvm label: its checksum is wrong");
  }
  const std::size_t header = load_le<std::uint32_t>(sector, 20);
  if (header < 32 || header > kSectorBytes - kUuidBytes - 8) {
    return damaged("lvm label: the header does not lie in the label's sector");
  }
  LvmMember member;
  member.uuid =
      lvm_uuid(printable({reinterpret_cast<const char*>(sector.data() + header), kUuidBytes}));
  member.label_end = (number + 1) * kSectorBytes;
  std::size_t at = header + kUuidBytes + 8;
  const auto data = read_areas(sector, at);
  auto metadata = data ? read_areas(sector, at) : std::nullopt;
  if (!metadata) return damaged("lvm header: its list of areas does not end");
  if (metadata->size() > kMaxMetadataAreas) {
    return damaged(fmt::format("lvm header: {} metadata areas, and there are at most {}",
                               metadata->size(), kMaxMetadataAreas));
  }
  member.metadata_areas = std::move(*metadata);
  return member;
}

Result<LvmMember> read_label(BlockDevice& device) {
  std::optional<Error> first_error;
  for (std::uint64_t number = 0; number < kLabelSectors; ++number) {
    if (!device.in_range(number * kSectorBytes, kSectorBytes)) break;
    auto sector = read_bytes(device, number * kSectorBytes, kSectorBytes, "lvm label");
    if (!sector) return std::move(sector).error();
    if (!starts_with(*sector, 0, "LABELONE") || !starts_with(*sector, 24, "LVM2 001")) continue;
    auto member = parse_label(*sector, number);
    if (member) return member;
    if (!first_error) first_error = std::move(member).error();
  }
  return first_error ? std::move(*first_error) : damaged("lvm label: there is none");
}

// The committed text of one metadata area; empty where the area holds none or is not in use.
Result<std::string> read_text(BlockDevice& device, const LvmArea& area,
                              std::uint64_t& text_budget) {
  if (area.length < 2 * kMdaHeaderBytes || !device.in_range(area.offset, area.length)) {
    return damaged(
        fmt::format("lvm metadata area: {} bytes at byte {} do not lie on the {} bytes "
                    "there are",
                    area.length, area.offset, device.size_bytes()));
  }
  auto header = read_bytes(device, area.offset, kMdaHeaderBytes, "lvm metadata area");
  if (!header) return std::move(header).error();
  const Bytes bytes(*header);
  if (!starts_with(bytes, 4, kMdaMagic) ||
      load_le<std::uint32_t>(bytes, 0) != lvm_crc(bytes.subspan(4))) {
    return damaged(
        fmt::format("lvm metadata area at byte {}: its header is not sound", area.offset));
  }
  const auto version = load_le<std::uint32_t>(bytes, 20);
  if (version != 1) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("lvm metadata area: version {} is not known", version));
  }
  if (load_le<std::uint64_t>(bytes, 24) != area.offset ||
      load_le<std::uint64_t>(bytes, 32) != area.length) {
    return damaged("lvm metadata area: its header and the volume's disagree on where it lies");
  }
  const auto start = load_le<std::uint64_t>(bytes, kRawLocationsAt);
  const auto length = load_le<std::uint64_t>(bytes, kRawLocationsAt + 8);
  const auto checksum = load_le<std::uint32_t>(bytes, kRawLocationsAt + 16);
  const auto flags = load_le<std::uint32_t>(bytes, kRawLocationsAt + 20);
  if (start == 0 || (flags & kLocationIgnored) != 0) return std::string();
  if (start < kMdaHeaderBytes || start >= area.length || length == 0 ||
      length > area.length - kMdaHeaderBytes || length > kMaxLvmTextBytes) {
    return damaged(fmt::format("lvm metadata area: a text of {} bytes at {} does not lie in it",
                               length, start));
  }
  if (length > text_budget) {
    return damaged(
        fmt::format("lvm metadata area: more than {} bytes of text in the image: the "
                    "rest is not read",
                    kMaxLvmTextBytesOfImage));
  }
  text_budget -= length;
  std::string text(length, '\0');
  const auto into = std::as_writable_bytes(std::span(text.data(), text.size()));
  const std::uint64_t first = std::min(length, area.length - start);
  if (auto done = read_bytes(device, area.offset + start, into.first(first), "lvm metadata");
      !done) {
    return std::move(done).error();
  }
  // It is a ring: what does not fit before the end goes on behind the header.
  if (auto done =
          read_bytes(device, area.offset + kMdaHeaderBytes, into.subspan(first), "lvm metadata");
      !done) {
    return std::move(done).error();
  }
  if (lvm_crc(into) != checksum) {
    return damaged(fmt::format("lvm metadata area at byte {}: the checksum of its text is wrong",
                               area.offset));
  }
  return text;
}

}  // namespace

std::uint32_t lvm_crc(Bytes bytes, std::uint32_t before) noexcept {
  return ~crc32(bytes, ~before);
}

std::string lvm_uuid(std::string_view raw) {
  if (raw.size() != kUuidBytes) return std::string(raw);
  std::string out;
  std::size_t at = 0;
  for (const std::size_t length : {6U, 4U, 4U, 4U, 4U, 4U, 6U}) {
    if (at != 0) out += '-';
    out += raw.substr(at, length);
    at += length;
  }
  return out;
}

Result<LvmMember> read_lvm_member(BlockDevice& device, std::uint64_t& text_budget,
                                  Notices& notices) {
  auto member = read_label(device);
  if (!member) return member;
  std::vector<Error> errors;
  bool any_sound = false;
  for (const LvmArea& area : member->metadata_areas) {
    auto text = read_text(device, area, text_budget);
    if (!text) {
      errors.push_back(std::move(text).error());
      continue;
    }
    any_sound = true;
    if (!text->empty()) member->texts.push_back(std::move(*text));
  }
  if (!errors.empty() && !any_sound) return std::move(errors.front());
  for (const Error& error : errors) {
    notices.warn("lvm", error.message() + "; the other copy is used");
  }
  return member;
}

}  // namespace latchkey::engine
