#include "keyslots/luks/luks2_header.h"

#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "engine/signatures.h"
#include "keyslots/digest.h"
#include "keyslots/luks/luks1_header.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_be;
using engine::Result;

namespace {

constexpr std::size_t kBinaryBytes = 4096;
constexpr std::string_view kSecondaryMagic{"SKUL\xba\xbe", 6};
constexpr std::size_t kChecksumAt = 448;
constexpr std::string_view kWhere = "luks2 header";

// Where the second copy may stand is also how long each copy may be.
constexpr std::array<std::uint64_t, 9> kCopySizes{0x4000,  0x8000,   0x10000,  0x20000, 0x40000,
                                                  0x80000, 0x100000, 0x200000, 0x400000};

bool is_copy_size(std::uint64_t size) {
  for (const std::uint64_t allowed : kCopySizes) {
    if (size == allowed) return true;
  }
  return false;
}

Error damaged(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

// Does a header of this kind begin here at all?
bool has_magic(Bytes bytes, std::string_view magic) {
  return engine::starts_with(bytes, 0, magic) && load_be<std::uint16_t>(bytes, 6) == 2;
}

// The checksum covers the whole copy with its own field zeroed.
Result<void> check_sum(Bytes bytes) {
  const std::string_view algorithm = engine::text_field(bytes, 72, 32);
  auto digest = Digest::find(algorithm);
  if (!digest) return std::move(digest).error().within("checksum");
  const std::size_t length = digest->size_bytes();
  constexpr std::array<std::byte, kMaxDigestBytes> zeros{};
  std::array<std::byte, kMaxDigestBytes> computed{};
  Hasher hasher(*digest);
  if (!hasher.hash({bytes.first(kChecksumAt), zeros, bytes.subspan(kChecksumAt + zeros.size())},
                   std::span(computed).first(length))) {
    return Error(ErrorCode::kSystem, "computing the checksum failed inside OpenSSL");
  }
  if (std::memcmp(computed.data(), bytes.data() + kChecksumAt, length) != 0) {
    return damaged("its checksum is wrong");
  }
  return {};
}

struct Copy {
  std::uint64_t offset = 0;
  bool present = false;  // its magic is there
  Result<Luks2Header> header = damaged("it is missing");

  bool sound() const { return header.ok(); }
};

Copy read_copy(engine::BlockDevice& device, std::uint64_t offset, std::string_view magic) {
  Copy copy;
  copy.offset = offset;
  if (!device.in_range(offset, kBinaryBytes)) return copy;
  std::array<std::byte, kBinaryBytes> start{};
  if (auto r = engine::read_bytes(device, offset, start, kWhere); !r) {
    copy.header = std::move(r).error();
    return copy;
  }
  copy.present = has_magic(start, magic);
  if (!copy.present) return copy;
  const auto size = load_be<std::uint64_t>(start, 8);
  if (!is_copy_size(size)) {
    copy.header = damaged(fmt::format("its size of {} bytes is none the format has", size));
    return copy;
  }
  auto bytes = engine::read_bytes(device, offset, static_cast<std::size_t>(size), kWhere);
  if (bytes) {
    copy.header = parse_luks2_copy(*bytes, offset);
  } else {
    copy.header = std::move(bytes).error();
  }
  return copy;
}

Copy find_secondary(engine::BlockDevice& device, const Copy& primary) {
  if (primary.sound()) {
    return read_copy(device, primary.header->header_bytes, kSecondaryMagic);
  }
  Copy first_bad;
  for (const std::uint64_t size : kCopySizes) {
    Copy copy = read_copy(device, size, kSecondaryMagic);
    if (copy.sound()) return copy;
    if (copy.present && !first_bad.present) first_bad = std::move(copy);
  }
  return first_bad;
}

// A second copy alone is also what is left on a device that has been given to something else since.
bool belongs_to_something_else(engine::BlockDevice& device) {
  constexpr std::size_t kBootSector = 512;
  if (device.in_range(0, kBootSector)) {
    std::array<std::byte, kBootSector> first{};
    if (!device.read(0, first).ok()) return false;
    if (engine::starts_with(first, 510, "\x55\xaa")) return true;
  }
  const std::string content = engine::identify_content(device).type;
  return !content.empty() && content != "crypto_LUKS";
}

void report_unused(const Copy& copy, const char* which, engine::Notices& notices) {
  notices.warn(std::string(kWhere),
               fmt::format("the {} copy at byte {} cannot be used ({}): using the other one", which,
                           copy.offset, copy.header.error().message()));
}

}  // namespace

Result<Luks2Header> parse_luks2_copy(Bytes bytes, std::uint64_t offset) {
  if (bytes.size() < kBinaryBytes || load_be<std::uint64_t>(bytes, 8) != bytes.size()) {
    return damaged("its size does not agree with what it says");
  }
  if (auto sum = check_sum(bytes); !sum) return std::move(sum).error();
  if (const auto at = load_be<std::uint64_t>(bytes, 256); at != offset) {
    return damaged(fmt::format("it says it stands at byte {}", at));
  }
  Luks2Header header;
  header.header_bytes = bytes.size();
  header.sequence = load_be<std::uint64_t>(bytes, 16);
  header.label = engine::printable(engine::text_field(bytes, 24, 48));
  header.uuid = engine::printable(engine::text_field(bytes, 168, 40));
  header.subsystem = engine::printable(engine::text_field(bytes, 208, 48));
  auto metadata =
      parse_luks2_json(engine::text_field(bytes, kBinaryBytes, bytes.size() - kBinaryBytes));
  if (!metadata) return std::move(metadata).error();
  if (auto sound = check_luks2_metadata(*metadata, bytes.size()); !sound) {
    return std::move(sound).error();
  }
  header.metadata = std::move(*metadata);
  return header;
}

Result<std::optional<Luks2Header>> read_luks2_header(engine::BlockDevice& device,
                                                     engine::Notices& notices) {
  Copy primary = read_copy(device, 0, kLuksMagic);
  Copy secondary = find_secondary(device, primary);
  if (!primary.present && !secondary.present) return std::optional<Luks2Header>();
  if (!primary.present && belongs_to_something_else(device)) return std::optional<Luks2Header>();

  if (primary.sound() && secondary.sound()) {
    const std::uint64_t first = primary.header->sequence;
    const std::uint64_t second = secondary.header->sequence;
    if (first != second) {
      notices.warn(std::string(kWhere),
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
      .within(std::string(kWhere))
      .with_hint(secondary.present
                     ? "both copies are damaged: restore a header backup, or name one "
                       "with --header FILE"
                     : "the second copy is missing too: restore a header backup, or "
                       "name one with --header FILE");
}

}  // namespace latchkey::keyslots
