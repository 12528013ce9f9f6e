#include "keyslots/bitlocker/bitlocker_datum.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include <fmt/format.h>

#include "engine/utf16.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;

namespace {

// How many bytes stand before a datum's children; 0 for the types that have none.
std::size_t fixed_bytes(DatumType type) {
  switch (type) {
    case DatumType::kStretchKey:
      return 20;  // key type, flags, salt
    case DatumType::kUseKey:
      return 4;  // key type, flags
    case DatumType::kVmk:
      return 28;  // GUID, FILETIME, hints, kind of protector
    case DatumType::kExternalKey:
      return 24;  // GUID, FILETIME
    default:
      return 0;
  }
}

struct Budget {
  std::size_t datums = kMaxDatums;
};

Result<std::vector<Datum>> parse_level(Bytes area, std::size_t depth, Budget& budget) {
  if (depth > kMaxDatumDepth) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("entries are nested more than {} deep", kMaxDatumDepth));
  }
  std::vector<Datum> datums;
  while (area.size() >= kDatumHeadBytes) {
    const std::size_t size = load_le<std::uint16_t>(area, 0);
    if (size == 0 &&
        std::all_of(area.begin(), area.end(), [](std::byte b) { return b == std::byte{0}; })) {
      break;
    }
    if (size < kDatumHeadBytes || size > area.size()) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("an entry of {} bytes where {} are left", size, area.size()));
    }
    if (budget.datums == 0) {
      return Error(ErrorCode::kDamaged, fmt::format("more than {} entries", kMaxDatums));
    }
    --budget.datums;
    Datum datum{.role = static_cast<DatumRole>(load_le<std::uint16_t>(area, 2)),
                .type = static_cast<DatumType>(load_le<std::uint16_t>(area, 4)),
                .flags = load_le<std::uint16_t>(area, 6),
                .payload = area.subspan(kDatumHeadBytes, size - kDatumHeadBytes),
                .children = {}};
    if (const std::size_t fixed = fixed_bytes(datum.type); fixed > 0) {
      if (datum.payload.size() < fixed) {
        return Error(ErrorCode::kDamaged,
                     fmt::format("an entry of type {} has {} bytes, {} are the least",
                                 static_cast<unsigned>(datum.type), size, fixed + kDatumHeadBytes));
      }
      auto children = parse_level(datum.payload.subspan(fixed), depth + 1, budget);
      if (!children) return std::move(children).error();
      datum.children = std::move(*children);
    }
    datums.push_back(std::move(datum));
    area = area.subspan(size);
  }
  return datums;
}

}  // namespace

const Datum* Datum::child(DatumType wanted) const noexcept {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const Datum& datum) { return datum.type == wanted; });
  return found == children.end() ? nullptr : &*found;
}

Result<std::vector<Datum>> parse_datums(Bytes area) {
  Budget budget;
  return parse_level(area, 1, budget);
}

const Datum* find_datum(const std::vector<Datum>& datums, DatumRole role, DatumType type) noexcept {
  const auto found = std::find_if(datums.begin(), datums.end(), [&](const Datum& datum) {
    return datum.role == role && datum.type == type;
  });
  return found == datums.end() ? nullptr : &*found;
}

std::string datum_text(const Datum& datum) {
  return engine::utf16_text(datum.payload, std::endian::little);
}

std::string filetime_text(std::uint64_t filetime) {
  constexpr std::uint64_t kTicksPerSecond = 10'000'000;
  constexpr std::uint64_t kSecondsTo1970 = 11'644'473'600;    // from 1601
  constexpr std::uint64_t kSecondsTo10000 = 265'046'774'400;  // from 1601
  const std::uint64_t seconds = filetime / kTicksPerSecond;
  if (filetime == 0 || seconds >= kSecondsTo10000) return {};
  const auto since_1970 =
      static_cast<std::int64_t>(seconds) - static_cast<std::int64_t>(kSecondsTo1970);
  const std::chrono::sys_seconds time{std::chrono::seconds(since_1970)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

}  // namespace latchkey::keyslots
