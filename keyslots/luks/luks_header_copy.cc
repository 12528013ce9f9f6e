#include "keyslots/luks/luks_header_copy.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "engine/memory_device.h"
#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_writer.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks_format.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

bool is_luks1(engine::BlockDevice& device) {
  Luks1Bytes start{};
  return device.in_range(0, start.size()) && device.read(0, start).ok() &&
         engine::starts_with(start, 0, kLuksMagic) &&
         engine::load_be<std::uint16_t>(start, luks1_at::kVersion) == 1;
}

Result<std::uint64_t> luks1_extent(engine::BlockDevice& device) {
  auto bytes = read_luks1_bytes(device);
  if (!bytes) return std::move(bytes).error();
  auto header = parse_luks1_header(*bytes);
  if (!header) return std::move(header).error().within("luks1 header");
  std::uint64_t end = 0;
  for (const Luks1Slot& slot : header->slots) end = std::max(end, slot.offset + slot.length);
  constexpr std::uint64_t kPageBytes = 4096;
  return engine::round_up(end, kPageBytes);
}

constexpr const char* kOtherKey = "the volume key here is another one than that of the backup";

// What tells the volume's key without giving it away: digest and salt of each segment's key.
using KeyMarks = std::set<std::string>;

std::string mark_of(Bytes digest, Bytes salt) {
  std::string mark;
  for (const Bytes part : {digest, salt}) {
    for (const std::byte byte : part) mark.push_back(static_cast<char>(byte));
  }
  return mark;
}

KeyMarks key_marks(const Luks2Metadata& metadata) {
  KeyMarks marks;
  for (const Luks2Segment& segment : metadata.segments) {
    const Luks2Digest* digest = metadata.digest_of_segment(segment.id);
    if (segment.is_backup() || digest == nullptr) continue;
    marks.insert(mark_of(digest->digest, digest->kdf.salt));
  }
  return marks;
}

KeyMarks luks1_key_marks(engine::BlockDevice& device) {
  const auto bytes = read_luks1_bytes(device);
  if (!bytes) return {};
  const Bytes mark =
      Bytes(*bytes).subspan(luks1_at::kDigest, luks1_at::kDigestIterations - luks1_at::kDigest);
  return {mark_of(mark, {})};
}

void add_requirements(const Luks2Metadata& metadata, const char* where,
                      std::vector<std::string>& why) {
  for (const std::string& requirement : metadata.requirements) {
    why.push_back(fmt::format("{} says '{}'", where, engine::printable(requirement)));
  }
}

}  // namespace

Result<std::uint64_t> luks_header_extent(engine::BlockDevice& device) {
  if (is_luks1(device)) return luks1_extent(device);
  const Luks2Copies copies = read_luks2_copies(device);
  const Luks2Copy* newest = copies.newest();
  if (newest == nullptr) return Error(ErrorCode::kDamaged, "there is no luks header to be used");
  return 2 * newest->header->header_bytes + newest->header->metadata.keyslots_bytes;
}

Result<std::vector<std::byte>> read_luks_header_place(engine::BlockDevice& device,
                                                      std::uint64_t at_least_bytes) {
  const auto extent = luks_header_extent(device);
  const std::uint64_t wanted = std::max(extent ? *extent : kLuks2HeaderSpaceBytes, at_least_bytes);
  const std::uint64_t length = std::min(wanted, device.size_bytes());
  return engine::read_bytes(device, 0, length, "luks header");
}

std::vector<std::string> why_backup_differs(const VolumeFacts& present, const VolumeFacts& backup) {
  std::vector<std::string> why;
  const auto compare = [&](const char* what, const auto& here, const auto& there) {
    if (here != there) {
      why.push_back(fmt::format("{} {} here, {} in the backup", what, here, there));
    }
  };
  compare("format", present.format, backup.format);
  compare("uuid", present.uuid, backup.uuid);
  compare("cipher", present.cipher, backup.cipher);
  compare("key bits", present.key_bits, backup.key_bits);
  compare("sector size", present.sector_bytes, backup.sector_bytes);
  compare("payload offset", present.payload_offset, backup.payload_offset);
  return why;
}

std::vector<std::string> why_backup_keys_differ(engine::BlockDevice& present, Bytes backup) {
  engine::MemoryDevice saved({backup.begin(), backup.end()});
  if (is_luks1(present) != is_luks1(saved)) return {"the format is another one"};
  if (is_luks1(present)) {
    if (luks1_key_marks(present) == luks1_key_marks(saved)) return {};
    return {kOtherKey};
  }
  const Luks2Copies copies_here = read_luks2_copies(present);
  const Luks2Copies copies_there = read_luks2_copies(saved);
  const Luks2Copy* here = copies_here.newest();
  const Luks2Copy* there = copies_there.newest();
  if (here == nullptr || there == nullptr) return {};
  std::vector<std::string> why;
  add_requirements(here->header->metadata, "the header here", why);
  add_requirements(there->header->metadata, "the backup", why);
  if (key_marks(here->header->metadata) != key_marks(there->header->metadata)) {
    why.emplace_back(kOtherKey);
  }
  return why;
}

Error restored_in_place(const std::string& why) {
  return Error(ErrorCode::kRefused,
               why + ": in place of the present header a power cut would leave neither")
      .with_hint("--force does it all the same; the two backups then have both");
}

namespace {

Result<void> restore(engine::BlockDevice& device, Bytes backup, bool in_place, RestoreStep step) {
  engine::MemoryDevice saved({backup.begin(), backup.end()});
  const auto extent = luks_header_extent(saved);
  if (!extent) return Error(extent.error()).within("the backup");
  if (*extent > saved.size_bytes()) {
    return Error(ErrorCode::kDamaged, fmt::format("the backup is cut short: {} bytes of {}",
                                                  saved.size_bytes(), *extent));
  }
  if (*extent > device.size_bytes()) {
    return Error(ErrorCode::kUsage,
                 fmt::format("the backup's header of {} bytes does not fit the {} there are",
                             *extent, device.size_bytes()));
  }
  return is_luks1(saved) ? restore_luks1_header(device, saved, in_place, step)
                         : restore_luks2_header(device, saved, in_place, step);
}

}  // namespace

Result<void> check_luks_restore(engine::BlockDevice& device, Bytes backup, bool in_place) {
  return restore(device, backup, in_place, RestoreStep::kCheck);
}

Result<void> restore_luks_header(engine::BlockDevice& device, Bytes backup, bool in_place) {
  return restore(device, backup, in_place, RestoreStep::kWrite);
}

}  // namespace latchkey::keyslots
