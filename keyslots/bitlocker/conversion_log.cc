#include "keyslots/bitlocker/conversion_log.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "engine/crc32.h"
#include "engine/read_bytes.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::crc32;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;

namespace {

constexpr std::string_view kLogSignature = "OLRDHEVF";
constexpr std::uint32_t kBlockBytes = 512;  // of the header, a record, and their copies
constexpr std::size_t kRecordBytes = 32;
constexpr std::uint32_t kSlots = 2;

Error damaged(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

struct Record {
  std::uint64_t sequence = 0;
  std::uint64_t offset = 0;  // of the chunk; 0: nothing is logged
  std::uint32_t data_bytes = 0;
  std::uint32_t data_sum = 0;

  bool empty() const noexcept { return offset == 0; }
  bool operator==(const Record&) const = default;
};

enum class SlotState {
  kUnused,    // zeros
  kComplete,  // record and copy agree
  kTorn,      // one of them was not written any more
  kDamaged,   // neither can be read
};

struct Slot {
  SlotState state = SlotState::kUnused;
  Record record;  // of a torn slot: the newer of what there is
  std::uint64_t data_offset = 0;

  bool logs_nothing() const noexcept {
    return state == SlotState::kUnused || (state == SlotState::kComplete && record.empty());
  }
};

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

Result<std::optional<Record>> parse_record(Bytes bytes, std::uint32_t capacity) {
  if (crc32(bytes.first(28)) != load_le<std::uint32_t>(bytes, 28) || all_zero(bytes)) {
    return std::optional<Record>();
  }
  if (load_le<std::uint16_t>(bytes, 0) != kRecordBytes || load_le<std::uint16_t>(bytes, 2) != 1) {
    return Error(ErrorCode::kNotSupported, "a slot's record has an unknown form");
  }
  Record record{load_le<std::uint64_t>(bytes, 4), load_le<std::uint64_t>(bytes, 12),
                load_le<std::uint32_t>(bytes, 20), load_le<std::uint32_t>(bytes, 24)};
  if (record.data_bytes > capacity) {
    return damaged(fmt::format("a slot cannot hold {} bytes", record.data_bytes));
  }
  return std::optional<Record>(record);
}

Result<Slot> read_slot(engine::BlockDevice& volume, const ConversionLogPlace& place,
                       std::uint32_t index) {
  const std::uint64_t start = place.offset + kBlockBytes + std::uint64_t{index} * place.slot_bytes;
  const std::uint32_t capacity = place.slot_bytes - 2 * kBlockBytes;
  std::array<std::byte, kRecordBytes> first{};
  std::array<std::byte, kRecordBytes> copy{};
  if (auto done = engine::read_bytes(volume, start, first, "conversion log"); !done) {
    return std::move(done).error();
  }
  const std::uint64_t copy_at = start + place.slot_bytes - kBlockBytes;
  if (auto done = engine::read_bytes(volume, copy_at, copy, "conversion log"); !done) {
    return std::move(done).error();
  }
  Slot slot;
  slot.data_offset = start + kBlockBytes;
  if (all_zero(first) && all_zero(copy)) return slot;
  auto a = parse_record(first, capacity);
  if (!a) return std::move(a).error();
  auto b = parse_record(copy, capacity);
  if (!b) return std::move(b).error();
  if (!*a && !*b) {
    slot.state = SlotState::kDamaged;
  } else if (*a && *b && **a == **b) {
    slot.state = SlotState::kComplete;
    slot.record = **a;
  } else {
    slot.state = SlotState::kTorn;
    const bool b_is_newer = *b && (!*a || (*b)->sequence > (*a)->sequence);
    slot.record = b_is_newer ? **b : **a;
  }
  return slot;
}

// What the newest slot logs; a sum that is wrong there makes it a torn one.
Result<std::optional<LoggedChunk>> read_logged(engine::BlockDevice& volume, const Slot& slot) {
  const Record& record = slot.record;
  LoggedChunk chunk;
  auto data = engine::read_bytes(volume, slot.data_offset, record.data_bytes, "conversion log");
  if (!data) return std::move(data).error();
  if (crc32(*data) != record.data_sum) return std::optional<LoggedChunk>();
  if (record.data_bytes == 0 || record.data_bytes % kLoggedBytesASector != 0 ||
      record.offset % kLoggedSectorBytes != 0) {
    return damaged(fmt::format("it logs {} bytes for the chunk at byte {}, which cannot be true",
                               record.data_bytes, record.offset));
  }
  const std::uint64_t length =
      std::uint64_t{record.data_bytes} / kLoggedBytesASector * kLoggedSectorBytes;
  if (!volume.in_range(record.offset, length)) {
    return damaged(
        fmt::format("the chunk it logs, at byte {}, is outside the volume", record.offset));
  }
  chunk.range = {record.offset, length};
  chunk.beginnings = std::move(*data);
  return std::optional<LoggedChunk>(std::move(chunk));
}

// False: neither the header nor its copy are there.
Result<bool> has_header(engine::BlockDevice& volume, const ConversionLogPlace& place) {
  for (const std::uint64_t at : {place.offset, place.offset + place.size_bytes - kBlockBytes}) {
    std::array<std::byte, 8> bytes{};
    if (auto done = engine::read_bytes(volume, at, bytes, "conversion log"); !done) {
      return std::move(done).error();
    }
    if (engine::starts_with(bytes, 0, kLogSignature)) return true;
  }
  return false;
}

}  // namespace

Result<std::optional<LoggedChunk>> read_conversion_log(engine::BlockDevice& volume,
                                                       const ConversionLogPlace& place,
                                                       engine::Notices& notices) {
  constexpr std::uint64_t kTwoBlocks = std::uint64_t{2} * kBlockBytes;
  if (place.slot_bytes <= kTwoBlocks ||
      place.size_bytes != kTwoBlocks + std::uint64_t{kSlots} * place.slot_bytes) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("{} bytes in slots of {} are not the layout that is known",
                             place.size_bytes, place.slot_bytes));
  }
  auto header = has_header(volume, place);
  if (!header) return std::move(header).error();
  std::array<Slot, kSlots> slots;
  for (std::uint32_t i = 0; i < kSlots; ++i) {
    auto slot = read_slot(volume, place, i);
    if (!slot) return std::move(slot).error();
    slots[i] = *slot;
    if (slots[i].state == SlotState::kDamaged) {
      return damaged(fmt::format("slot {} is damaged, so what it logged is not known", i));
    }
  }
  Slot* newest = slots.data();
  Slot* other = slots.data() + 1;
  if (other->state != SlotState::kUnused &&
      (newest->state == SlotState::kUnused || other->record.sequence > newest->record.sequence)) {
    std::swap(newest, other);
  }
  if (newest->logs_nothing() && other->logs_nothing()) {
    if (*header || newest->state == SlotState::kUnused) return std::optional<LoggedChunk>();
    return damaged("it has slots but no header");
  }
  if (!*header) return damaged("it has slots but no header");
  if (other->state != SlotState::kUnused && newest->record.sequence == other->record.sequence) {
    return damaged("its two slots are equally new and differ");
  }
  if (newest->record.empty()) {
    if (newest->state == SlotState::kComplete) return std::optional<LoggedChunk>();
    if (!other->logs_nothing() && other->state == SlotState::kComplete) {
      return read_logged(volume, *other);
    }
  } else if (newest->state == SlotState::kComplete || other->logs_nothing()) {
    auto logged = read_logged(volume, *newest);
    if (!logged || *logged) return logged;
  }
  if (other->logs_nothing()) {
    if (newest->state == SlotState::kComplete) {
      notices.warn(
          "conversion log",
          fmt::format("it names the chunk at byte {} without what it should hold of it, as "
                      "after a power cut before the chunk was touched; if it was damaged "
                      "later, parts of that chunk read as noise",
                      newest->record.offset));
    }
    return std::optional<LoggedChunk>();
  }
  return damaged("its newest slot is incomplete and the one before it still logs a chunk");
}

Result<std::vector<VolumeRange>> plain_sectors(engine::BlockDevice& volume,
                                               const LoggedChunk& chunk) {
  constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20;
  std::vector<VolumeRange> plain;
  std::vector<std::byte> piece(std::min(kPieceBytes, chunk.range.length));
  const std::byte* logged = chunk.beginnings.data();
  for (std::uint64_t at = chunk.range.offset; at < chunk.range.end();) {
    const auto bytes = engine::MutableBytes(piece).first(
        std::min<std::uint64_t>(piece.size(), chunk.range.end() - at));
    if (auto done = engine::read_bytes(volume, at, bytes, "chunk under conversion"); !done) {
      return std::move(done).error();
    }
    for (std::size_t i = 0; i < bytes.size();
         i += kLoggedSectorBytes, logged += kLoggedBytesASector) {
      if (std::memcmp(bytes.data() + i, logged, kLoggedBytesASector) == 0) continue;
      if (!plain.empty() && plain.back().end() == at + i) {
        plain.back().length += kLoggedSectorBytes;
      } else {
        plain.push_back({at + i, kLoggedSectorBytes});
      }
    }
    at += bytes.size();
  }
  return plain;
}

}  // namespace latchkey::keyslots
