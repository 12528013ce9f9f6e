#include "keyslots/bitlocker/eow.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/bitlocker/conversion_log.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr const char* kWhere = "conversion record";
// Windows converts one chunk at a time. More logs in use than this were not left by a power cut.
constexpr std::size_t kMaxLoggedChunks = 16;
// 128 TiB in chunks of 8 MiB.
constexpr std::uint64_t kMaxChunks = std::uint64_t{1} << 24;
// Runs of chunks that are plain: what a recording costs in memory. Windows works its way through a
// volume and leaves a few; so many were made up.
constexpr std::size_t kMaxPlainRuns = std::size_t{1} << 20;

Error damaged_eow(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

bool by_offset(const VolumeRange& a, const VolumeRange& b) {
  return a.offset != b.offset ? a.offset < b.offset : a.length < b.length;
}

void append_joined(std::vector<VolumeRange>& list, const VolumeRange& range) {
  if (range.length == 0) return;
  if (!list.empty() && list.back().end() == range.offset) {
    list.back().length += range.length;
  } else {
    list.push_back(range);
  }
}

std::uint64_t total(const std::vector<VolumeRange>& list) {
  std::uint64_t sum = 0;
  for (const VolumeRange& range : list) sum += range.length;
  return sum;
}

// `list` is sorted and disjoint, and stays so.
std::vector<VolumeRange> without(const std::vector<VolumeRange>& list, const VolumeRange& cut) {
  std::vector<VolumeRange> out;
  for (const VolumeRange& range : list) {
    if (range.end() <= cut.offset || range.offset >= cut.end()) {
      out.push_back(range);
      continue;
    }
    if (range.offset < cut.offset) out.push_back({range.offset, cut.offset - range.offset});
    if (range.end() > cut.end()) out.push_back({cut.end(), range.end() - cut.end()});
  }
  return out;
}

struct Copy {
  std::uint64_t offset = 0;
  EowInformation information;
};

class Reader {
 public:
  Reader(engine::BlockDevice& volume, const std::array<std::uint64_t, 2>& places,
         std::uint32_t sector_bytes, engine::Notices& notices)
      : volume_(volume), places_(places), sector_bytes_(sector_bytes), notices_(notices) {}

  Result<std::optional<EowState>> run() {
    if (auto done = find_copies(); !done) return std::move(done).error();
    if (copies_.empty()) return std::optional<EowState>();
    if (auto done = read_bitmaps(); !done) return std::move(done).error();
    if (auto done = gather_hidden(); !done) return std::move(done).error();
    if (auto done = gather_plain(); !done) return std::move(done).error();
    if (auto done = settle_logs(); !done) return std::move(done).error();
    return finish();
  }

 private:
  bool whole_sectors(std::uint64_t bytes) const { return bytes % sector_bytes_ == 0; }

  // Absent: there is nothing of this kind. An error: there was.
  Result<std::optional<Copy>> read_copy(std::uint64_t place) {
    std::array<std::byte, kEowInformationHeaderBytes> header{};
    if (!volume_.in_range(place, header.size())) return std::optional<Copy>();
    if (auto done = engine::read_bytes(volume_, place, header, kWhere); !done) {
      return std::move(done).error();
    }
    if (!engine::starts_with(header, 0, kEowInformationSignature)) return std::optional<Copy>();
    auto size = eow_information_bytes(header);
    if (!size) return std::move(size).error();
    auto bytes = engine::read_bytes(volume_, place, *size, kWhere);
    if (!bytes) return std::move(bytes).error();
    auto parsed = parse_eow_information(*bytes);
    if (!parsed) return std::move(parsed).error();
    const auto& own = parsed->own_offsets;
    if (own != places_ && own != std::array{places_[1], places_[0]}) {
      return damaged_eow(
          fmt::format("it says that the two lie at bytes {} and {}", own[0], own[1]));
    }
    return std::optional<Copy>({place, std::move(*parsed)});
  }

  Result<void> find_copies() {
    std::optional<Error> trouble;
    std::optional<std::uint64_t> missing;
    for (const std::uint64_t place : places_) {
      if (!copies_.empty() && copies_.front().offset == place) continue;
      auto copy = read_copy(place);
      if (!copy) {
        Error error = std::move(copy).error().within(fmt::format("{} at byte {}", kWhere, place));
        // Another copy helps against damage, not against a form that is not known.
        if (error.code() == ErrorCode::kNotSupported) return error;
        notices_.warn(kWhere, error.message());
        trouble = std::move(error);
      } else if (*copy) {
        copies_.push_back(std::move(**copy));
      } else {
        missing = place;
      }
    }
    if (copies_.empty()) return trouble ? Result<void>(std::move(*trouble)) : Result<void>();
    if (missing) notices_.warn(kWhere, fmt::format("there is none at byte {}", *missing));
    return check_copies();
  }

  Result<void> check_copies() {
    const EowInformation& first = copies_.front().information;
    if (first.sector_bytes != sector_bytes_) {
      return damaged_eow(fmt::format("{}: it speaks of sectors of {} bytes, the volume's have {}",
                                     kWhere, first.sector_bytes, sector_bytes_));
    }
    const EowInformation& last = copies_.back().information;
    if (first.chunk_bytes != last.chunk_bytes || first.own_offsets != last.own_offsets ||
        first.sector_bytes != last.sector_bytes || first.log_bytes != last.log_bytes ||
        first.log_slot_bytes != last.log_slot_bytes ||
        first.log_unit_bytes != last.log_unit_bytes ||
        first.bitmap_offsets.size() != last.bitmap_offsets.size()) {
      return damaged_eow(fmt::format("{}: its two copies contradict each other", kWhere));
    }
    return {};
  }

  Result<EowBitmap> read_bitmap(std::uint64_t place) {
    std::array<std::byte, kEowBitmapHeaderBytes> header{};
    if (auto done = engine::read_bytes(volume_, place, header, "bitmap"); !done) {
      return std::move(done).error();
    }
    auto size = eow_bitmap_bytes(header);
    if (!size) return std::move(size).error();
    auto bytes = engine::read_bytes(volume_, place, *size, "bitmap");
    if (!bytes) return std::move(bytes).error();
    auto bitmap = parse_eow_bitmap(*bytes, shape().chunk_bytes);
    if (!bitmap) return std::move(bitmap).error();
    if (!whole_sectors(bitmap->region.offset) || !whole_sectors(bitmap->region.length)) {
      return damaged_eow("its region is not made of whole sectors");
    }
    return bitmap;
  }

  // Both copies may name the same bitmaps, or each its own: then the newer one of a region counts.
  Result<void> read_bitmaps() {
    for (const Copy& copy : copies_) {
      const auto& places = copy.information.bitmap_offsets;
      if (std::set<std::uint64_t>(places.begin(), places.end()).size() != places.size()) {
        return damaged_eow(fmt::format("{}: it names a bitmap twice", kWhere));
      }
    }
    for (std::size_t i = 0; i < shape().bitmap_offsets.size(); ++i) {
      for (const Copy& copy : copies_) {
        const std::uint64_t place = copy.information.bitmap_offsets[i];
        if (&copy != &copies_.front() && place == shape().bitmap_offsets[i]) continue;
        auto bitmap = read_bitmap(place);
        if (!bitmap) {
          return std::move(bitmap).error().within(fmt::format("bitmap at byte {}", place));
        }
        own_areas_.push_back({place, bitmap->size_bytes});
        if (&copy == &copies_.front()) {
          bitmaps_.push_back(std::move(*bitmap));
        } else if (auto done = take_newer(bitmaps_.back(), std::move(*bitmap)); !done) {
          return std::move(done).error().within(fmt::format("bitmap at byte {}", place));
        }
      }
    }
    std::sort(bitmaps_.begin(), bitmaps_.end(),
              [](const EowBitmap& a, const EowBitmap& b) { return by_offset(a.region, b.region); });
    for (std::size_t i = 1; i < bitmaps_.size(); ++i) {
      if (bitmaps_[i].region.offset < bitmaps_[i - 1].region.end()) {
        return damaged_eow(fmt::format("{}: the regions at bytes {} and {} overlap", kWhere,
                                       bitmaps_[i - 1].region.offset, bitmaps_[i].region.offset));
      }
    }
    return {};
  }

  static Result<void> take_newer(EowBitmap& have, EowBitmap other) {
    if (have.region != other.region || have.log_offset != other.log_offset) {
      return damaged_eow("it contradicts the one of the other copy");
    }
    if (have.sequence == other.sequence && have.bitmap != other.bitmap) {
      return damaged_eow("it is as new as the one of the other copy and differs");
    }
    if (other.sequence > have.sequence) have = std::move(other);
    return {};
  }

  // An area may be named more than once, but none may cover a part of another.
  Result<void> gather_hidden() {
    for (const std::uint64_t place : shape().own_offsets) {
      own_areas_.push_back({place, copies_.front().information.size_bytes});
    }
    for (const EowBitmap& bitmap : bitmaps_) {
      own_areas_.push_back({bitmap.log_offset, shape().log_bytes});
    }
    for (VolumeRange& area : own_areas_) {
      if (!whole_sectors(area.offset) || area.offset < sector_bytes_ ||
          area.offset > INT64_MAX / 2) {
        return damaged_eow(
            fmt::format("{}: a part of it cannot lie at byte {}", kWhere, area.offset));
      }
      area.length = engine::round_up(area.length, sector_bytes_);
    }
    std::sort(own_areas_.begin(), own_areas_.end(), by_offset);
    own_areas_.erase(std::unique(own_areas_.begin(), own_areas_.end()), own_areas_.end());
    for (std::size_t i = 0; i < own_areas_.size(); ++i) {
      if (i > 0 && own_areas_[i].offset < own_areas_[i - 1].end()) {
        return damaged_eow(fmt::format("{}: its parts at bytes {} and {} overlap", kWhere,
                                       own_areas_[i - 1].offset, own_areas_[i].offset));
      }
      append_joined(state_.hidden, own_areas_[i]);
    }
    return {};
  }

  // What the bits say. Regions are sorted, so the list is.
  Result<void> gather_plain() {
    const std::uint64_t chunk_bytes = shape().chunk_bytes;
    std::uint64_t chunks = 0;
    for (const EowBitmap& bitmap : bitmaps_) {
      chunks += bitmap.bits;
      if (chunks > kMaxChunks) {
        return Error(ErrorCode::kNotSupported,
                     fmt::format("{}: it has more than {} chunks", kWhere, kMaxChunks));
      }
      const VolumeRange& region = bitmap.region;
      append_joined(state_.covered, region);
      for (std::uint64_t at = 0, chunk = 0; at < region.length; at += chunk_bytes, ++chunk) {
        if (bitmap.is_ciphertext(chunk)) continue;
        append_joined(state_.plain,
                      {region.offset + at, std::min(chunk_bytes, region.length - at)});
        if (state_.plain.size() > kMaxPlainRuns) {
          return Error(ErrorCode::kNotSupported,
                       fmt::format("{}: more than {} stretches are plain", kWhere, kMaxPlainRuns));
        }
      }
    }
    return {};
  }

  Result<void> settle_logs() {
    std::set<std::uint64_t> logs;  // regions may share one
    std::vector<VolumeRange> settled;
    for (const EowBitmap& bitmap : bitmaps_) {
      if (!logs.insert(bitmap.log_offset).second) continue;
      if (auto done = settle_log(bitmap.log_offset, settled); !done) {
        return std::move(done).error().within(
            fmt::format("conversion log at byte {}", bitmap.log_offset));
      }
    }
    warn_of_lost_records(settled);
    return {};
  }

  Result<void> settle_log(std::uint64_t place, std::vector<VolumeRange>& settled) {
    auto chunk =
        read_conversion_log(volume_, {place, shape().log_bytes, shape().log_slot_bytes}, notices_);
    if (!chunk) return std::move(chunk).error();
    return *chunk ? settle(**chunk, place, settled) : Result<void>();
  }

  Result<void> settle(const LoggedChunk& chunk, std::uint64_t log_offset,
                      std::vector<VolumeRange>& settled) {
    if (shape().log_unit_bytes != kLoggedSectorBytes) {
      return Error(ErrorCode::kNotSupported,
                   fmt::format("it is in use and logs units of {} bytes, which are not known",
                               shape().log_unit_bytes));
    }
    const VolumeRange& range = chunk.range;
    if (!in_region_of(log_offset, range)) {
      return damaged_eow(
          fmt::format("the chunk it logs, at byte {}, is in no region of its own", range.offset));
    }
    for (const VolumeRange& before : settled) {
      if (range.offset < before.end() && before.offset < range.end()) {
        return damaged_eow(
            fmt::format("the chunk it logs, at byte {}, is logged elsewhere too", range.offset));
      }
    }
    if (settled.size() == kMaxLoggedChunks) {
      return Error(ErrorCode::kNotSupported, "more chunks were under conversion than is known of");
    }
    auto plain = plain_sectors(volume_, chunk);
    if (!plain) return std::move(plain).error();
    for (const VolumeRange& part : *plain) {
      if (!whole_sectors(part.offset) || !whole_sectors(part.length)) {
        return Error(ErrorCode::kNotSupported,
                     fmt::format("the sector around byte {} is in part converted", part.offset));
      }
    }
    notices_.note("conversion log",
                  fmt::format("the chunk at byte {} was being converted: {} of its {} bytes are "
                              "encrypted",
                              range.offset, range.length - total(*plain), range.length));
    state_.plain = without(state_.plain, range);
    state_.plain.insert(state_.plain.end(), plain->begin(), plain->end());
    std::sort(state_.plain.begin(), state_.plain.end(), by_offset);
    settled.push_back(range);
    return {};
  }

  bool in_region_of(std::uint64_t log_offset, const VolumeRange& range) const {
    return std::any_of(bitmaps_.begin(), bitmaps_.end(), [&](const EowBitmap& bitmap) {
      return bitmap.log_offset == log_offset && range.offset >= bitmap.region.offset &&
             range.end() <= bitmap.region.end();
    });
  }

  // A record that a power cut spoiled goes with a log that is in use: it is emptied only after the
  // record was written. One that was spoiled later may have known more than the one that is used.
  void warn_of_lost_records(const std::vector<VolumeRange>& settled) {
    for (const EowBitmap& bitmap : bitmaps_) {
      if (!bitmap.newer_is_damaged) continue;
      const bool explained =
          std::any_of(settled.begin(), settled.end(), [&](const VolumeRange& range) {
            return range.offset >= bitmap.region.offset && range.end() <= bitmap.region.end();
          });
      if (explained) continue;
      notices_.warn(kWhere,
                    fmt::format("the newest record for the region at byte {} is damaged, the one "
                                "before it is used: what was converted between the two reads as "
                                "noise",
                                bitmap.region.offset));
    }
  }

  Result<std::optional<EowState>> finish() {
    std::vector<VolumeRange> joined;
    for (const VolumeRange& range : state_.plain) append_joined(joined, range);
    state_.plain = std::move(joined);
    state_.covered_bytes = total(state_.covered);
    state_.encrypted_bytes = state_.covered_bytes - total(state_.plain);
    return std::optional<EowState>(std::move(state_));
  }

  const EowInformation& shape() const { return copies_.front().information; }

  engine::BlockDevice& volume_;
  const std::array<std::uint64_t, 2> places_;
  const std::uint32_t sector_bytes_;
  engine::Notices& notices_;
  std::vector<Copy> copies_;        // the sound ones, at most two
  std::vector<EowBitmap> bitmaps_;  // of each region the newest; sorted by region
  std::vector<VolumeRange> own_areas_;
  EowState state_;
};

}  // namespace

Result<std::optional<EowState>> read_eow(engine::BlockDevice& volume,
                                         const std::array<std::uint64_t, 2>& information,
                                         std::uint32_t sector_bytes, engine::Notices& notices) {
  return Reader(volume, information, sector_bytes, notices).run();
}

}  // namespace latchkey::keyslots
