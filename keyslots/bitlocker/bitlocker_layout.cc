#include "keyslots/bitlocker/bitlocker_layout.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using Kind = BitlockerPiece::Kind;

namespace {

constexpr std::uint64_t kVistaClearBytes = 0x2000;

struct Area {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  const char* what = "";
  std::uint64_t end() const { return offset + length; }
};

bool before(const Area& a, const Area& b) {
  return a.offset < b.offset;
}

// Appends to a list sorted by offset; what overlaps or touches the last one becomes part of it.
void join(std::vector<Area>& list, const Area& area) {
  if (!list.empty() && area.offset <= list.back().end()) {
    list.back().length = std::max(list.back().end(), area.end()) - list.back().offset;
  } else {
    list.push_back(area);
  }
}

class Planner {
 public:
  Planner(const BitlockerMetadata& metadata, const EowState* eow, const BitlockerShape& shape)
      : metadata_(metadata), eow_(eow), shape_(shape) {}

  Result<std::vector<BitlockerPiece>> run() {
    if (auto done = gather_plain(); !done) return std::move(done).error();
    if (auto done = gather_blank(); !done) return std::move(done).error();
    std::uint64_t at = 0;
    if (metadata_.version == 1) {
      const std::uint64_t made = std::min<std::uint64_t>(shape_.sector_bytes, shape_.volume_bytes);
      add(Kind::kMade, 0, made);
      at = made;
    } else if (auto done = add_relocated(at); !done) {
      return std::move(done).error();
    }
    for (const Area& area : blank_) {
      if (area.offset < at) {
        return Error(ErrorCode::kDamaged,
                     fmt::format("{} at byte {} overlaps the volume's first sectors", area.what,
                                 area.offset));
      }
      add_physical(at, area.offset - at);
      add(Kind::kBlank, 0, area.length);
      at = area.end();
    }
    add_physical(at, shape_.volume_bytes - at);
    if (auto done = check_known(); !done) return std::move(done).error();
    return std::move(pieces_);
  }

 private:
  bool whole_sectors(std::uint64_t bytes) const { return bytes % shape_.sector_bytes == 0; }

  // From the first byte that is not encrypted (any more, or yet) to the end.
  Result<void> add_plain_tail(std::uint64_t from) {
    if (from >= shape_.volume_bytes) return {};
    if (!whole_sectors(from)) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("the end of the encrypted part, byte {}, is inside a sector", from));
    }
    plain_.push_back({from, shape_.volume_bytes - from, "the part that is not encrypted"});
    return {};
  }

  std::uint64_t encrypted_to() const {
    const std::uint64_t all = shape_.volume_bytes;
    if (metadata_.state == BitlockerState::kEncrypted) {
      // Vista leaves it 0 once all is encrypted. Where it is short of the end, the sectors behind
      // it (NTFS's spare boot sector) were never encrypted.
      return metadata_.state_offset == 0 ? all : metadata_.state_offset;
    }
    if (eow_ != nullptr) return all;  // the recording tells
    return metadata_.state == BitlockerState::kDecrypted ? 0 : metadata_.state_offset;
  }

  bool recorded_as_plain(std::uint64_t offset) const {
    const auto range =
        std::partition_point(eow_->plain.begin(), eow_->plain.end(), [&](const VolumeRange& one) {
          return one.offset <= offset && offset - one.offset >= one.length;
        });
    return range != eow_->plain.end() && range->offset <= offset;
  }

  // What the recording says, and what it says nothing about: behind its last region nothing was
  // ever encrypted; a gap is what is on both sides of it, and where those differ nobody can tell.
  Result<void> gather_recorded() {
    for (const VolumeRange& range : eow_->plain) {
      if (!whole_sectors(range.offset) || !whole_sectors(range.length)) {
        return Error(ErrorCode::kDamaged, "a chunk that is not encrypted ends inside a sector");
      }
      plain_.push_back({range.offset, range.length, "a chunk that is not encrypted"});
    }
    std::uint64_t at = 0;
    for (const VolumeRange& range : eow_->covered) {
      if (range.offset > at) {
        const bool plain = recorded_as_plain(range.offset);
        const Area gap{at, range.offset - at, "a gap in the recording"};
        if (at > 0 && recorded_as_plain(at - 1) != plain) {
          unknown_.push_back(gap);
        } else if (plain) {
          plain_.push_back(gap);
        }
      }
      at = std::max(at, range.offset + range.length);
    }
    return at > 0 ? add_plain_tail(at) : Result<void>();
  }

  Result<void> gather_plain() {
    if (metadata_.version == 1) plain_.push_back({0, kVistaClearBytes, "the boot area"});
    if (eow_ != nullptr) {
      if (auto done = gather_recorded(); !done) return done;
    }
    if (auto done = add_plain_tail(encrypted_to()); !done) return done;
    std::sort(plain_.begin(), plain_.end(), before);
    std::vector<Area> merged;
    for (Area area : plain_) {  // what is cut off is not there to be read
      if (area.offset >= shape_.volume_bytes) break;
      area.length = std::min(area.length, shape_.volume_bytes - area.offset);
      join(merged, area);
    }
    plain_ = std::move(merged);
    return {};
  }

  Result<void> add_blank(std::uint64_t offset, std::uint64_t length, const char* what) {
    if (!whole_sectors(offset) || !whole_sectors(length)) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("{} at byte {} over {} bytes is not made of whole sectors", what,
                               offset, length));
    }
    if (offset >= shape_.volume_bytes || length == 0) return {};  // cut off
    blank_.push_back({offset, std::min(length, shape_.volume_bytes - offset), what});
    return {};
  }

  std::uint64_t copy_bytes() const {
    if (metadata_.version == 1) {
      return engine::round_up(kBitlockerVistaCopyBytes,
                              std::max<std::uint64_t>(shape_.cluster_bytes, shape_.sector_bytes));
    }
    return engine::round_up(kBitlockerCopyBytes, shape_.sector_bytes);
  }

  std::uint64_t relocated_bytes() const {
    return std::uint64_t{metadata_.virtualized_sectors} * shape_.sector_bytes;
  }

  Result<void> gather_blank() {
    for (const std::uint64_t offset : metadata_.offsets) {
      if (auto done = add_blank(offset, copy_bytes(), "a copy of the metadata"); !done) return done;
    }
    if (metadata_.version != 1) {
      if (auto done =
              add_blank(metadata_.virtualized_offset, relocated_bytes(), "the relocated boot area");
          !done) {
        return done;
      }
    }
    if (metadata_.state == BitlockerState::kSwitchingDirty && metadata_.state_bytes > 0) {
      if (auto done =
              add_blank(metadata_.state_offset, metadata_.state_bytes, "the conversion log");
          !done) {
        return done;
      }
    }
    if (auto done = check_overlaps(); !done) return done;
    return eow_ == nullptr ? Result<void>() : add_recording();
  }

  Result<void> check_overlaps() {
    std::sort(blank_.begin(), blank_.end(), before);
    for (std::size_t i = 1; i < blank_.size(); ++i) {
      if (blank_[i].offset < blank_[i - 1].end()) {
        return Error(ErrorCode::kDamaged,
                     fmt::format("{} at byte {} overlaps {} at byte {}", blank_[i].what,
                                 blank_[i].offset, blank_[i - 1].what, blank_[i - 1].offset));
      }
    }
    return {};
  }

  // The two copies of the recording may share pieces with each other, with nothing else.
  Result<void> add_recording() {
    std::vector<Area> hidden;
    hidden.swap(blank_);
    for (const VolumeRange& range : eow_->hidden) {
      if (auto done = add_blank(range.offset, range.length, "the conversion's recording"); !done) {
        return done;
      }
    }
    std::sort(blank_.begin(), blank_.end(), before);
    std::vector<Area> merged;
    for (const Area& area : blank_) join(merged, area);
    blank_ = std::move(merged);
    blank_.insert(blank_.end(), hidden.begin(), hidden.end());
    return check_overlaps();
  }

  Result<void> add_relocated(std::uint64_t& at) {
    const std::uint64_t length = relocated_bytes();
    if (length == 0) return {};
    const std::uint64_t from = metadata_.virtualized_offset;
    if (from > shape_.volume_bytes || length > shape_.volume_bytes - from) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("the volume's first sectors are kept at byte {} over {} bytes, but "
                               "there are only {}",
                               from, length, shape_.volume_bytes));
    }
    add_physical(from, length);
    at = length;
    return {};
  }

  // What lies at [offset, offset + length) of the volume, in the clear or not.
  void add_physical(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    auto area = std::partition_point(plain_.begin(), plain_.end(),
                                     [&](const Area& one) { return one.end() <= offset; });
    for (; area != plain_.end() && area->offset < end; ++area) {
      if (area->offset > offset) add(Kind::kCipher, offset, area->offset - offset);
      const std::uint64_t from = std::max(area->offset, offset);
      add(Kind::kPlain, from, std::min(area->end(), end) - from);
      offset = std::min(area->end(), end);
    }
    add(Kind::kCipher, offset, end - offset);
  }

  Result<void> check_known() const {
    for (const BitlockerPiece& piece : pieces_) {
      if (piece.kind != Kind::kCipher && piece.kind != Kind::kPlain) continue;
      const auto area =
          std::partition_point(unknown_.begin(), unknown_.end(),
                               [&](const Area& one) { return one.end() <= piece.offset; });
      if (area == unknown_.end() || area->offset >= piece.offset + piece.length) continue;
      return Error(
          ErrorCode::kDamaged,
          fmt::format("the conversion's recording does not say whether {} bytes at byte {} "
                      "are encrypted",
                      area->length, area->offset));
    }
    return {};
  }

  void add(Kind kind, std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return;
    const bool placed = kind == Kind::kCipher || kind == Kind::kPlain;
    if (!pieces_.empty() && pieces_.back().kind == kind &&
        (!placed || pieces_.back().offset + pieces_.back().length == offset)) {
      pieces_.back().length += length;
    } else {
      pieces_.push_back({kind, offset, length});
    }
  }

  const BitlockerMetadata& metadata_;
  const EowState* const eow_;
  const BitlockerShape& shape_;
  std::vector<Area> plain_;    // sorted, disjoint
  std::vector<Area> unknown_;  // sorted, disjoint: not to be read
  std::vector<Area> blank_;    // sorted, disjoint
  std::vector<BitlockerPiece> pieces_;
};

}  // namespace

Result<std::vector<BitlockerPiece>> plan_bitlocker_layout(const BitlockerMetadata& metadata,
                                                          const EowState* eow,
                                                          const BitlockerShape& shape) {
  return Planner(metadata, eow, shape).run();
}

}  // namespace latchkey::keyslots
