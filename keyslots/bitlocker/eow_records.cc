#include "keyslots/bitlocker/eow_records.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "engine/crc32.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::crc32;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;

namespace {

// No chunk of a size that a region's bitmap could not be meant for.
constexpr std::uint64_t kMaxChunkBytes = std::uint64_t{1} << 30;
constexpr std::uint32_t kMaxLogBytes = 1024 * 1024;  // Windows makes them half as large
constexpr std::size_t kOffsetBytes = 8;

Error damaged_record(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}
Error unknown_form(std::string what) {
  return Error(ErrorCode::kNotSupported, std::move(what));
}

// The sum is over the structure with its own four bytes as zeros.
bool sum_holds(Bytes bytes, std::size_t sum_at) {
  constexpr std::array<std::byte, 4> kZeros{};
  std::uint32_t sum = crc32(bytes.first(sum_at));
  sum = crc32(kZeros, sum);
  sum = crc32(bytes.subspan(sum_at + kZeros.size()), sum);
  return sum == load_le<std::uint32_t>(bytes, sum_at);
}

bool is_power_of_two(std::uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

}  // namespace

Result<std::size_t> eow_information_bytes(Bytes header) {
  if (!engine::starts_with(header, 0, kEowInformationSignature)) {
    return damaged_record("it has no signature");
  }
  const std::size_t size = load_le<std::uint16_t>(header, 10);
  if (size < kEowInformationHeaderBytes) {
    return damaged_record(fmt::format("its size cannot be {} bytes", size));
  }
  return size;
}

Result<EowInformation> parse_eow_information(Bytes bytes) {
  if (!sum_holds(bytes, 36)) return damaged_record("its checksum is wrong");
  if (load_le<std::uint16_t>(bytes, 8) != kEowInformationHeaderBytes) {
    return unknown_form(
        fmt::format("its header has {} bytes, not 56", load_le<std::uint16_t>(bytes, 8)));
  }
  EowInformation out;
  out.size_bytes = bytes.size();
  out.sector_bytes = load_le<std::uint32_t>(bytes, 12);
  out.log_unit_bytes = load_le<std::uint32_t>(bytes, 16);
  out.chunk_bytes = load_le<std::uint32_t>(bytes, 20);
  out.log_bytes = load_le<std::uint32_t>(bytes, 24);
  out.log_slot_bytes = load_le<std::uint32_t>(bytes, 28);
  const std::uint32_t regions = load_le<std::uint32_t>(bytes, 32);
  out.own_offsets = {load_le<std::uint64_t>(bytes, 40), load_le<std::uint64_t>(bytes, 48)};

  if (regions == 0 ||
      bytes.size() != kEowInformationHeaderBytes + std::uint64_t{regions} * kOffsetBytes) {
    return damaged_record(fmt::format("{} regions do not fit its {} bytes", regions, bytes.size()));
  }
  if (!is_power_of_two(out.sector_bytes) || out.sector_bytes < 512 || out.sector_bytes > 4096) {
    return damaged_record(fmt::format("its sectors cannot have {} bytes", out.sector_bytes));
  }
  if (out.chunk_bytes == 0 || out.chunk_bytes > kMaxChunkBytes ||
      out.chunk_bytes % out.sector_bytes != 0) {
    return damaged_record(fmt::format("its chunks cannot have {} bytes", out.chunk_bytes));
  }
  if (out.log_bytes > kMaxLogBytes) {
    return damaged_record(fmt::format("its conversion logs cannot have {} bytes", out.log_bytes));
  }
  for (std::size_t i = 0; i < regions; ++i) {
    out.bitmap_offsets.push_back(
        load_le<std::uint64_t>(bytes, kEowInformationHeaderBytes + i * kOffsetBytes));
  }
  return out;
}

Result<std::size_t> eow_bitmap_bytes(Bytes header) {
  if (!engine::starts_with(header, 0, kEowBitmapSignature))
    return damaged_record("it has no signature");
  const std::uint32_t size = load_le<std::uint32_t>(header, 12);
  if (size < kEowBitmapHeaderBytes || size > kMaxEowBitmapBytes) {
    return damaged_record(fmt::format("its size cannot be {} bytes", size));
  }
  return std::size_t{size};
}

namespace {

struct BitmapRecord {
  std::uint64_t sequence = 0;
  std::uint32_t bits = 0;
  Bytes bitmap;
};

struct RecordSlot {
  std::optional<BitmapRecord> record;  // absent: damaged or never written
  bool damaged = false;                // there was one
  std::uint64_t said_sequence = 0;     // what a damaged one says of itself; 0: nothing
};

Result<RecordSlot> parse_record(Bytes bytes) {
  RecordSlot out;
  out.damaged = !engine::all_zero(bytes);
  if (!engine::starts_with(bytes, 0, kEowRecordSignature)) return out;
  out.said_sequence = load_le<std::uint64_t>(bytes, 20);
  const std::uint32_t size = load_le<std::uint32_t>(bytes, 12);
  if (size < kEowRecordHeaderBytes || size > bytes.size()) return out;
  if (!sum_holds(bytes.first(size), 32)) return out;
  if (load_le<std::uint16_t>(bytes, 10) != kEowRecordHeaderBytes) {
    return unknown_form("a record of its bits has an unknown form");
  }
  BitmapRecord record;
  record.sequence = out.said_sequence;
  record.bits = load_le<std::uint32_t>(bytes, 16);
  record.bitmap = bytes.first(size).subspan(kEowRecordHeaderBytes);
  if ((std::uint64_t{record.bits} + 7) / 8 > record.bitmap.size()) {
    return damaged_record(
        fmt::format("{} bits do not fit a record of {} bytes", record.bits, size));
  }
  out.record = record;
  out.damaged = false;
  return out;
}

// Bits past the count are junk.
bool same_bits(const BitmapRecord& a, const BitmapRecord& b) {
  if (a.bits != b.bits) return false;
  const std::size_t whole = a.bits / 8;
  if (!std::equal(a.bitmap.begin(), a.bitmap.begin() + static_cast<std::ptrdiff_t>(whole),
                  b.bitmap.begin())) {
    return false;
  }
  const unsigned rest = a.bits % 8;
  if (rest == 0) return true;
  const unsigned differ = std::to_integer<unsigned>(a.bitmap[whole] ^ b.bitmap[whole]);
  return (differ & ((1U << rest) - 1)) == 0;
}

Result<void> take_record(EowBitmap& into, const RecordSlot& first, const RecordSlot& second) {
  if (!first.record && !second.record)
    return damaged_record("both records of its bits are damaged");
  const RecordSlot* newest = &first;
  const RecordSlot* other = &second;
  if (first.record && second.record) {
    if (second.record->sequence > first.record->sequence) std::swap(newest, other);
    if (newest->record->sequence == other->record->sequence &&
        !same_bits(*newest->record, *other->record)) {
      return damaged_record("the two records of its bits are equally new and differ");
    }
  } else {
    if (!first.record) std::swap(newest, other);
    into.newer_is_damaged = other->damaged && (other->said_sequence == 0 ||
                                               other->said_sequence > newest->record->sequence);
  }
  into.sequence = newest->record->sequence;
  into.bits = newest->record->bits;
  into.bitmap.assign(newest->record->bitmap.begin(), newest->record->bitmap.end());
  return {};
}

}  // namespace

Result<EowBitmap> parse_eow_bitmap(Bytes bytes, std::uint64_t chunk_bytes) {
  const std::uint32_t first = load_le<std::uint32_t>(bytes, 44);
  const std::uint32_t second = load_le<std::uint32_t>(bytes, 48);
  const std::uint32_t record_bytes = load_le<std::uint32_t>(bytes, 52);
  if (first < kEowBitmapHeaderBytes || first > bytes.size() || !sum_holds(bytes.first(first), 56)) {
    return damaged_record("its checksum is wrong");
  }
  if (load_le<std::uint16_t>(bytes, 10) != kEowBitmapHeaderBytes) {
    return unknown_form(
        fmt::format("its header has {} bytes, not 60", load_le<std::uint16_t>(bytes, 10)));
  }
  if (record_bytes < kEowRecordHeaderBytes || record_bytes > bytes.size() - first ||
      second < first || second - first < record_bytes || second > bytes.size() ||
      record_bytes > bytes.size() - second) {
    return damaged_record(fmt::format("its records, {} bytes at {} and {}, do not fit its {} bytes",
                                      record_bytes, first, second, bytes.size()));
  }
  EowBitmap out;
  out.size_bytes = bytes.size();
  out.region = {load_le<std::uint64_t>(bytes, 20), load_le<std::uint64_t>(bytes, 28)};
  out.log_offset = load_le<std::uint64_t>(bytes, 36);
  if (out.region.length == 0 || out.region.offset > INT64_MAX ||
      out.region.length > INT64_MAX - out.region.offset) {
    return damaged_record(fmt::format("its region cannot be {} bytes at byte {}", out.region.length,
                                      out.region.offset));
  }
  auto one = parse_record(bytes.subspan(first, record_bytes));
  if (!one) return std::move(one).error();
  auto two = parse_record(bytes.subspan(second, record_bytes));
  if (!two) return std::move(two).error();
  if (auto done = take_record(out, *one, *two); !done) return std::move(done).error();
  const std::uint64_t chunks =
      out.region.length / chunk_bytes + (out.region.length % chunk_bytes != 0 ? 1 : 0);
  if (out.bits < chunks) {
    return damaged_record(
        fmt::format("it has {} bits for a region of {} chunks", out.bits, chunks));
  }
  return out;
}

}  // namespace latchkey::keyslots
