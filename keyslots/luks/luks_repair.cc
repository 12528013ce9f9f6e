#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "keyslots/luks/luks1_writer.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/luks/luks2_writer.h"
#include "keyslots/luks/luks_check.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Notices;
using engine::Result;

namespace {

constexpr const char* kHeader = "luks1 header";
constexpr std::size_t kMostWrongMagicBytes = 2;

std::size_t wrong_magic_bytes(Bytes header) {
  const Bytes magic = engine::as_bytes(kLuksMagic);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < magic.size(); ++i) wrong += header[i] == magic[i] ? 0 : 1;
  return wrong;
}

// A LUKS1 header, or one with little wrong in its first bytes. One of version 2 is told by that.
bool looks_like_luks1(Bytes header) {
  return wrong_magic_bytes(header) <= kMostWrongMagicBytes &&
         engine::load_be<std::uint16_t>(header, luks1_at::kVersion) == 1;
}

// The names are lower case; some old tools wrote capitals.
void mend_name(MutableBytes header, std::size_t at, const char* what, Notices& done) {
  bool changed = false;
  for (std::byte& byte : header.subspan(at, kLuks1TextBytes)) {
    const auto c = std::to_integer<unsigned char>(byte);
    if (c == 0) break;
    if (std::isupper(c) == 0) continue;
    byte = static_cast<std::byte>(std::tolower(c));
    changed = true;
  }
  if (changed) done.note(kHeader, fmt::format("the {}'s name is in lower case again", what));
}

// The slots follow each other at one distance, which most of them still tell.
void mend_offsets(MutableBytes header, std::uint32_t key_bytes, Notices& done) {
  const auto offset_at = [](std::size_t index) {
    return luks1_at::kSlots + index * kLuks1SlotBytes + luks1_at::kSlotOffset;
  };
  std::size_t right = 0;
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    const auto sector = engine::load_be<std::uint32_t>(header, offset_at(i));
    if (sector * kLuks1SectorBytes == luks1_slot_offset(key_bytes, i)) ++right;
  }
  // An old layout, or so little of it left that a guess would be one.
  if (right <= kLuks1Slots / 2) return;
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    const auto wanted =
        static_cast<std::uint32_t>(luks1_slot_offset(key_bytes, i) / kLuks1SectorBytes);
    if (engine::load_be<std::uint32_t>(header, offset_at(i)) == wanted) continue;
    engine::store_be(header, offset_at(i), wanted);
    done.note(fmt::format("keyslot {}", i), "the place of its key material is right again");
  }
}

void mend_slot(MutableBytes slot, std::size_t index, Notices& done) {
  const std::string where = fmt::format("keyslot {}", index);
  const auto state = engine::load_be<std::uint32_t>(slot, luks1_at::kSlotState);
  if (state == kLuks1Active || state == kLuks1Inactive) return;
  // An inactive slot has no salt. A wrong guess costs a try that fails.
  const Bytes salt = Bytes(slot).subspan(luks1_at::kSlotSalt, kLuks1SaltBytes);
  const bool filled =
      engine::load_be<std::uint32_t>(slot, luks1_at::kSlotIterations) != 0 &&
      std::any_of(salt.begin(), salt.end(), [](std::byte byte) { return byte != std::byte{0}; });
  engine::store_be(slot, luks1_at::kSlotState, filled ? kLuks1Active : kLuks1Inactive);
  done.note(where, filled ? "it is marked as in use again" : "it is marked as not in use again");
}

// Every writer has 4000; another number that can be read is taken as meant.
void mend_stripes(MutableBytes slot, std::size_t index, Notices& done) {
  if (engine::load_be<std::uint32_t>(slot, luks1_at::kSlotStripes) == kLuksStripes) return;
  engine::store_be(slot, luks1_at::kSlotStripes, kLuksStripes);
  done.note(fmt::format("keyslot {}", index), "its number of stripes is 4000 again");
}

Result<LuksRepair> repair_of_luks1(Bytes bytes) {
  LuksRepair repair;
  auto mended = mended_luks1_header(bytes, repair.done);
  if (!mended) return std::move(mended).error();
  if (std::equal(mended->begin(), mended->end(), bytes.begin())) return LuksRepair();
  repair.bytes = std::move(*mended);
  return repair;
}

Result<LuksRepair> repair_of_luks2(engine::BlockDevice& device, const RepairOptions& options) {
  const Luks2Copies copies = read_luks2_copies(device);
  const Luks2Copy* newest = copies.newest();
  if (newest == nullptr) {
    const bool traces = copies.first.present || copies.second.present;
    return Error(traces ? ErrorCode::kDamaged : ErrorCode::kRefused,
                 traces ? "neither copy of the luks2 header is sound: it cannot be repaired"
                        : "there is no trace of a luks header")
        .with_hint("restore a backup: latchkey header restore");
  }
  if (!copies.first.sound() && something_else_begins(device) && !options.device_was_reused) {
    return Error(ErrorCode::kRefused,
                 "the first copy of the header is not whole, and something else begins in its "
                 "place: a boot sector, a partition table, a file system")
        .with_hint("--force writes the header over it");
  }
  const bool first_counts = newest == &copies.first;
  const Luks2Copy& other = first_counts ? copies.second : copies.first;
  if (other.sound() && same_luks2_content(other, *newest)) return LuksRepair();
  Luks2Content content;
  content.binary.assign(newest->bytes.begin(), newest->bytes.begin() + kLuks2BinaryBytes);
  content.json = newest->json();
  LuksRepair repair;
  repair.offset = first_counts ? newest->header->header_bytes : 0;
  auto copy = make_luks2_copy(content, repair.offset);
  if (!copy) return std::move(copy).error();
  repair.bytes = std::move(*copy);
  repair.done.note("luks2 header",
                   fmt::format("the {} copy, at byte {}, was written anew from the {} one",
                               first_counts ? "second" : "first", repair.offset,
                               first_counts ? "first" : "second"));
  return repair;
}

}  // namespace

Result<std::vector<std::byte>> mended_luks1_header(Bytes header, Notices& done) {
  std::vector<std::byte> mended(header.begin(), header.end());
  const MutableBytes bytes(mended);
  if (wrong_magic_bytes(header) != 0) {
    const Bytes magic = engine::as_bytes(kLuksMagic);
    std::copy(magic.begin(), magic.end(), mended.begin());
    done.note(kHeader, "its first bytes are right again");
  }
  mend_name(bytes, luks1_at::kCipher, "cipher", done);
  mend_name(bytes, luks1_at::kMode, "cipher mode", done);
  mend_name(bytes, luks1_at::kHash, "hash", done);
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    mend_slot(bytes.subspan(luks1_at::kSlots + i * kLuks1SlotBytes, kLuks1SlotBytes), i, done);
  }
  mend_offsets(bytes, engine::load_be<std::uint32_t>(header, luks1_at::kKeyBytes), done);
  for (std::size_t i = 0; i < kLuks1Slots && !parse_luks1_header(mended); ++i) {
    mend_stripes(bytes.subspan(luks1_at::kSlots + i * kLuks1SlotBytes, kLuks1SlotBytes), i, done);
  }
  if (auto sound = parse_luks1_header(mended); !sound) {
    return std::move(sound).error().within("the luks1 header cannot be repaired");
  }
  return mended;
}

Result<LuksRepair> plan_luks_repair(engine::BlockDevice& device, const RepairOptions& options) {
  auto start = read_luks1_bytes(device);
  if (!start) return std::move(start).error();
  if (engine::starts_with(*start, 0, kLuks1BeingReencryptedMagic)) {
    return luks1_being_reencrypted();
  }
  if (looks_like_luks1(*start)) return repair_of_luks1(*start);
  return repair_of_luks2(device, options);
}

Result<void> carry_out_repair(engine::BlockDevice& device, const LuksRepair& repair) {
  return write_synced(device, repair.offset, repair.bytes, "luks header");
}

}  // namespace latchkey::keyslots
