#include "keyslots/luks/luks2_header.h"

#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "engine/signatures.h"
#include "keyslots/digest.h"
#include "keyslots/luks/luks1_header.h"
#include "keyslots/luks/luks2_layout.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_be;
using engine::Result;

namespace {

constexpr std::string_view kHeaderWhere = "luks2 header";

bool is_copy_size(std::uint64_t size) {
  for (const std::uint64_t allowed : kLuks2CopySizes) {
    if (size == allowed) return true;
  }
  return false;
}

Error damaged_header(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

// Does a header of this kind begin here at all?
bool has_magic(Bytes bytes, std::string_view magic) {
  return engine::starts_with(bytes, 0, magic) &&
         load_be<std::uint16_t>(bytes, luks2_at::kVersion) == kLuks2Version;
}

Result<void> check_sum(Bytes bytes) {
  auto sum = luks2_checksum(bytes);
  if (!sum) return std::move(sum).error();
  if (std::memcmp(sum->data(), bytes.data() + luks2_at::kChecksum, sum->size()) != 0) {
    return damaged_header("its checksum is wrong");
  }
  return {};
}

Luks2Copy read_copy(engine::BlockDevice& device, std::uint64_t offset, std::string_view magic) {
  Luks2Copy copy;
  copy.offset = offset;
  if (!device.in_range(offset, kLuks2BinaryBytes)) return copy;
  std::array<std::byte, kLuks2BinaryBytes> start{};
  if (auto r = engine::read_bytes(device, offset, start, kHeaderWhere); !r) {
    copy.header = std::move(r).error();
    return copy;
  }
  copy.present = has_magic(start, magic);
  if (!copy.present) return copy;
  const auto size = load_be<std::uint64_t>(start, luks2_at::kHeaderBytes);
  if (!is_copy_size(size)) {
    copy.header = damaged_header(fmt::format("its size of {} bytes is none the format has", size));
    return copy;
  }
  auto bytes = engine::read_bytes(device, offset, static_cast<std::size_t>(size), kHeaderWhere);
  if (!bytes) {
    copy.header = std::move(bytes).error();
    return copy;
  }
  copy.bytes = std::move(*bytes);
  copy.header = parse_luks2_copy(copy.bytes, offset);
  return copy;
}

Luks2Copy find_secondary(engine::BlockDevice& device, const Luks2Copy& primary) {
  if (primary.sound()) {
    return read_copy(device, primary.header->header_bytes, kLuks2SecondMagic);
  }
  Luks2Copy first_bad;
  for (const std::uint64_t size : kLuks2CopySizes) {
    Luks2Copy copy = read_copy(device, size, kLuks2SecondMagic);
    if (copy.sound()) return copy;
    if (copy.present && !first_bad.present) first_bad = std::move(copy);
  }
  return first_bad;
}

void report_unused(const Luks2Copy& copy, const char* which, engine::Notices& notices) {
  notices.warn(std::string(kHeaderWhere),
               fmt::format("the {} copy at byte {} cannot be used ({}): using the other one", which,
                           copy.offset, copy.header.error().message()));
}

}  // namespace

Result<std::vector<std::byte>> luks2_checksum(Bytes copy) {
  using luks2_at::kChecksum;
  auto digest =
      Digest::find(engine::text_field(copy, luks2_at::kChecksumName, kLuks2ChecksumNameBytes));
  if (!digest) return std::move(digest).error().within("checksum");
  static_assert(kLuks2ChecksumBytes == kMaxDigestBytes);
  constexpr std::array<std::byte, kLuks2ChecksumBytes> zeros{};
  std::vector<std::byte> sum(digest->size_bytes());
  Hasher hasher(*digest);
  if (!hasher.hash({copy.first(kChecksum), zeros, copy.subspan(kChecksum + zeros.size())}, sum)) {
    return Error(ErrorCode::kSystem, "computing the checksum failed inside OpenSSL");
  }
  return sum;
}

std::string_view Luks2Copy::json() const {
  return engine::text_field(bytes, kLuks2BinaryBytes, bytes.size() - kLuks2BinaryBytes);
}

const Luks2Copy* Luks2Copies::newest() const {
  if (!first.sound()) return second.sound() ? &second : nullptr;
  if (!second.sound()) return &first;
  return first.header->sequence >= second.header->sequence ? &first : &second;
}

Luks2Copies read_luks2_copies(engine::BlockDevice& device) {
  Luks2Copies copies;
  copies.first = read_copy(device, 0, kLuksMagic);
  copies.second = find_secondary(device, copies.first);
  return copies;
}

bool something_else_begins(engine::BlockDevice& device) {
  constexpr std::size_t kBootSector = 512;
  if (device.in_range(0, kBootSector)) {
    std::array<std::byte, kBootSector> first{};
    if (!device.read(0, first).ok()) return false;
    if (engine::starts_with(first, 510, "\x55\xaa")) return true;
  }
  const std::string content = engine::identify_content(device).type;
  return !content.empty() && content != "crypto_LUKS";
}

std::string overwritten_luks2(engine::BlockDevice& device) {
  const Luks2Copies copies = read_luks2_copies(device);
  return copies.first.sound() || !copies.second.sound() ? "" : copies.second.header->uuid;
}

Result<Luks2Header> parse_luks2_copy(Bytes bytes, std::uint64_t offset) {
  if (bytes.size() < kLuks2BinaryBytes ||
      load_be<std::uint64_t>(bytes, luks2_at::kHeaderBytes) != bytes.size()) {
    return damaged_header("its size does not agree with what it says");
  }
  if (auto sum = check_sum(bytes); !sum) return std::move(sum).error();
  if (const auto at = load_be<std::uint64_t>(bytes, luks2_at::kOffset); at != offset) {
    return damaged_header(fmt::format("it says it stands at byte {}", at));
  }
  Luks2Header header;
  header.header_bytes = bytes.size();
  header.sequence = load_be<std::uint64_t>(bytes, luks2_at::kSequence);
  header.label = engine::printable(engine::text_field(bytes, luks2_at::kLabel, kLuks2LabelBytes));
  header.uuid = engine::printable(engine::text_field(bytes, luks2_at::kUuid, kLuks2UuidBytes));
  header.subsystem =
      engine::printable(engine::text_field(bytes, luks2_at::kSubsystem, kLuks2LabelBytes));
  auto metadata = parse_luks2_json(
      engine::text_field(bytes, kLuks2BinaryBytes, bytes.size() - kLuks2BinaryBytes));
  if (!metadata) return std::move(metadata).error();
  if (auto sound = check_luks2_metadata(*metadata, bytes.size()); !sound) {
    return std::move(sound).error();
  }
  header.metadata = std::move(*metadata);
  return header;
}

Result<std::optional<Luks2Header>> read_luks2_header(engine::BlockDevice& device,
                                                     engine::Notices& notices) {
  Luks2Copies copies = read_luks2_copies(device);
  Luks2Copy& primary = copies.first;
  Luks2Copy& secondary = copies.second;
  if (!primary.present && !secondary.present) return std::optional<Luks2Header>();
  if (!primary.present && something_else_begins(device)) {
    if (secondary.sound()) {
      notices.warn(
          std::string(kHeaderWhere),
          fmt::format("something else begins where the first copy was; the second, at byte "
                      "{}, is whole (volume {}). If that volume is what should be here: "
                      "latchkey header repair --force --backup FILE",
                      secondary.offset, secondary.header->uuid));
    }
    return std::optional<Luks2Header>();
  }

  if (primary.sound() && secondary.sound()) {
    const std::uint64_t first = primary.header->sequence;
    const std::uint64_t second = secondary.header->sequence;
    if (first != second) {
      notices.warn(std::string(kHeaderWhere),
                   fmt::format("the two copies differ in age (sequence {} and {}): using the newer",
                               first, second));
    }
    return std::optional(std::move(first >= second ? primary : secondary).header.value());
  }
  if (primary.sound()) {
    report_unused(secondary, "second", notices);
    return std::optional(std::move(*primary.header));
  }
  if (secondary.sound()) {
    report_unused(primary, "first", notices);
    return std::optional(std::move(*secondary.header));
  }
  if (!primary.present) return std::optional<Luks2Header>();
  return std::move(primary.header)
      .error()
      .within(std::string(kHeaderWhere))
      .with_hint(secondary.present
                     ? "both copies are damaged: restore a header backup, or name one "
                       "with --header FILE"
                     : "the second copy is missing too: restore a header backup, or "
                       "name one with --header FILE");
}

}  // namespace latchkey::keyslots
