#include "keyslots/luks/luks_check.h"

#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_writer.h"
#include "keyslots/luks/luks2_header.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Notices;

namespace {

constexpr std::size_t kSectorBytes = 512;

void check_material(engine::BlockDevice& device, unsigned slot, std::uint64_t offset,
                    std::uint64_t length, Notices& findings) {
  const std::string where = fmt::format("keyslot {}", slot);
  auto material = engine::read_bytes(device, offset, length, "key material");
  if (!material) return findings.damage(where, material.error().message());
  const auto odd = sectors_not_random(*material);
  if (odd.empty()) {
    return findings.note(where, "its key material looks as it should");
  }
  findings.damage(where,
                  fmt::format("{} of {} sectors of its key material have been overwritten, the "
                              "first at byte {}: its key opens nothing any more",
                              odd.size(), length / kSectorBytes, offset + odd.front()));
}

void check_luks1(engine::BlockDevice& device, Notices& findings) {
  auto bytes = read_luks1_bytes(device);
  if (!bytes) return findings.damage("luks1 header", bytes.error().message());
  const auto header = parse_luks1_header(*bytes);
  if (!header) return findings.damage("luks1 header", header.error().message());
  findings.note("luks1 header", "it is sound");
  unsigned active = 0;
  for (unsigned i = 0; i < kLuks1Slots; ++i) {
    const Luks1Slot& slot = header->slots[i];
    if (!slot.active) continue;
    ++active;
    check_material(device, i, slot.offset, engine::round_down(slot.length, kSectorBytes), findings);
  }
  if (active == 0) findings.damage("luks1 header", "no key slot is in use: no key opens it");
}

void report_copy(const Luks2Copy& copy, const char* name, bool other_is_sound, Notices& findings) {
  if (copy.sound()) {
    return findings.note(name, fmt::format("it is sound, sequence {}", copy.header->sequence));
  }
  const std::string what =
      copy.present ? fmt::format("at byte {}: {}", copy.offset, copy.header.error().message())
                   : "it is missing";
  if (other_is_sound) return findings.warn(name, what);
  findings.damage(name, what);
}

void check_luks2(engine::BlockDevice& device, Notices& findings) {
  const Luks2Copies copies = read_luks2_copies(device);
  report_copy(copies.first, "first copy", copies.second.sound(), findings);
  report_copy(copies.second, "second copy", copies.first.sound(), findings);
  if (!copies.first.sound() && copies.second.sound() && something_else_begins(device)) {
    findings.warn("first copy",
                  "something else begins in its place, and repair would overwrite that: it wants "
                  "--force");
  }
  const Luks2Copy* newest = copies.newest();
  if (newest == nullptr) return;
  if (copies.first.sound() && copies.second.sound()) {
    if (copies.first.header->sequence != copies.second.header->sequence) {
      findings.warn("copies", "one is older than the other: an update was cut short");
    } else if (copies.first.json() != copies.second.json() ||
               copies.first.header->uuid != copies.second.header->uuid ||
               copies.first.header->label != copies.second.header->label) {
      findings.warn("copies", "they differ, though they are of the same age: the first one counts");
    }
  }
  unsigned slots = 0;
  for (const Luks2Keyslot& slot : newest->header->metadata.keyslots) {
    if (slot.type != "luks2") continue;
    ++slots;
    const std::uint64_t length =
        engine::round_down(std::uint64_t{slot.key_bytes} * slot.stripes, kSectorBytes);
    check_material(device, slot.id, slot.area.offset, length, findings);
  }
  if (slots == 0) findings.damage("header", "there is no key slot: no key opens it");
}

}  // namespace

std::vector<std::size_t> sectors_not_random(Bytes material) {
  constexpr double kExpected = static_cast<double>(kSectorBytes) / 256;
  constexpr double kMost = 600;
  std::vector<std::size_t> odd;
  for (std::size_t at = 0; at + kSectorBytes <= material.size(); at += kSectorBytes) {
    std::array<unsigned, 256> count{};
    for (const std::byte byte : material.subspan(at, kSectorBytes)) {
      ++count[std::to_integer<std::size_t>(byte)];
    }
    double sum = 0;
    for (const unsigned n : count) sum += (n - kExpected) * (n - kExpected) / kExpected;
    if (sum > kMost) odd.push_back(at);
  }
  return odd;
}

void check_luks_header(engine::BlockDevice& device, Notices& findings) {
  Luks1Bytes start{};
  const bool readable = device.in_range(0, start.size()) && device.read(0, start).ok();
  if (readable && engine::starts_with(start, 0, kLuksMagic) &&
      engine::load_be<std::uint16_t>(start, luks1_at::kVersion) == 1) {
    return check_luks1(device, findings);
  }
  check_luks2(device, findings);
}

}  // namespace latchkey::keyslots
