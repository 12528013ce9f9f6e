#include "keyslots/bitlocker/bitlocker_copies.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "engine/signatures.h"

namespace latchkey::keyslots {

using engine::BlockDevice;
using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Notices;
using engine::Result;

namespace {

using namespace std::string_view_literals;

constexpr const char* kWhere = "bitlocker metadata";
constexpr std::size_t kSearchStep = 512;
constexpr std::uint64_t kSearchPieceBytes = std::uint64_t{1024} * 1024;
constexpr std::size_t kMaxSearchHits = 64;  // an image full of signatures is not read for ever
constexpr std::string_view kEowSignature = "FVE-EOW\0"sv;

Result<BitlockerMetadata> read_copy(BlockDevice& device, std::uint64_t offset) {
  if (offset >= device.size_bytes()) {
    return Error(ErrorCode::kDamaged, "it lies beyond the end of the image");
  }
  const std::size_t length = static_cast<std::size_t>(
      std::min<std::uint64_t>(kBitlockerCopyBytes, device.size_bytes() - offset));
  auto bytes = engine::read_bytes(device, offset, length, "volume metadata");
  if (!bytes) return std::move(bytes).error();
  auto copy = parse_bitlocker_metadata(*bytes);
  if (!copy) return copy;
  if (std::find(copy->offsets.begin(), copy->offsets.end(), offset) == copy->offsets.end()) {
    return Error(ErrorCode::kDamaged, "it names other places than its own");
  }
  return copy;
}

// The copies at `offsets`, and at those that the first sound one names.
class CopyReader {
 public:
  CopyReader(BlockDevice& device, Notices& notices) : device_(device), notices_(notices) {}

  void read(const std::vector<std::uint64_t>& offsets) {
    for (const std::uint64_t offset : offsets) read_one(offset);
    if (copies_.empty()) return;
    for (const std::uint64_t offset : std::array(copies_.front().offsets)) read_one(offset);
  }

  // kNotSupported only if that is all there is to say.
  Error why_none() const {
    return error_.value_or(Error(ErrorCode::kDamaged, "no copy of the metadata is named"));
  }

  std::vector<BitlockerMetadata> take() {
    compare();
    std::stable_partition(copies_.begin(), copies_.end(),
                          [](const BitlockerMetadata& copy) { return copy.crc_holds; });
    return std::move(copies_);
  }

 private:
  void read_one(std::uint64_t offset) {
    if (std::find(seen_.begin(), seen_.end(), offset) != seen_.end()) return;
    seen_.push_back(offset);
    const std::string name = fmt::format("copy {} at byte {}", seen_.size(), offset);
    auto copy = read_copy(device_, offset);
    if (!copy) {
      notices_.warn(kWhere, fmt::format("{}: {}", name, copy.error().message()));
      if (!error_ || error_->code() == ErrorCode::kNotSupported) {
        error_ = std::move(copy).error().within(name);
      }
      return;
    }
    if (!copy->crc_holds) notices_.warn(kWhere, name + ": its checksum is wrong");
    copies_.push_back(std::move(*copy));
    names_.push_back(name);
  }

  void compare() {
    const bool any_good = std::any_of(copies_.begin(), copies_.end(),
                                      [](const BitlockerMetadata& copy) { return copy.crc_holds; });
    if (!any_good && !copies_.empty()) {
      notices_.warn(kWhere,
                    "the checksum of no copy holds: the first that is sound is used, and the "
                    "volume opens read-only");
    }
    const BitlockerMetadata* first = nullptr;
    std::string first_name;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].crc_holds != any_good) continue;
      if (first == nullptr) {
        first = &copies_[i];
        first_name = names_[i];
      } else if (!std::ranges::equal(first->info(), copies_[i].info())) {
        notices_.warn(kWhere, fmt::format("{} says something else than {}: the first one counts",
                                          names_[i], first_name));
      }
    }
  }

  BlockDevice& device_;
  Notices& notices_;
  std::vector<std::uint64_t> seen_;
  std::vector<BitlockerMetadata> copies_;
  std::vector<std::string> names_;
  std::optional<Error> error_;
};

struct SearchResult {
  std::optional<BitlockerMetadata> copy;
  std::optional<std::array<std::uint64_t, 2>> eow_offsets;
};

class Search {
 public:
  // `known`: places that need not be searched for.
  Search(BlockDevice& device, std::uint64_t bytes,
         const std::optional<std::array<std::uint64_t, 2>>& known)
      : device_(device), end_(std::min(device.size_bytes(), bytes)) {
    result_.eow_offsets = known;
  }

  // Unreadable stretches count as holding nothing.
  SearchResult run() {
    std::vector<std::byte> piece(kSearchPieceBytes);
    for (std::uint64_t at = 0; at < end_ && !done(at);) {
      if (const std::uint64_t zeros = zeros_at(at); zeros > 0) {
        at += zeros;
        continue;
      }
      const auto bytes =
          std::span(piece).first(static_cast<std::size_t>(std::min(kSearchPieceBytes, end_ - at)));
      if (device_.read(at, bytes).ok()) look_through(bytes, at);
      at += bytes.size();
    }
    return std::move(result_);
  }

 private:
  // Whole steps that need not be read. Asked once an extent: where the next hole is, some file
  // systems find out page by page.
  std::uint64_t zeros_at(std::uint64_t at) {
    if (at < data_end_) return 0;
    const engine::Extent extent = device_.extent_at(at, end_ - at);
    const std::uint64_t zeros = extent.reads_as_zero ? extent.length : 0;
    if (zeros < kSearchStep) data_end_ = at + extent.length;
    return zeros / kSearchStep * kSearchStep;
  }

  void look_through(Bytes bytes, std::uint64_t offset) {
    for (std::size_t at = 0; at + kSearchStep <= bytes.size(); at += kSearchStep) {
      if (!result_.eow_offsets && engine::starts_with(bytes, at, kEowSignature)) {
        take_eow(bytes.subspan(at), offset + at);
      }
      if (!result_.copy && hits_ < kMaxSearchHits &&
          engine::starts_with(bytes, at, kBitlockerSignature)) {
        ++hits_;
        auto copy = read_copy(device_, offset + at);
        if (copy && copy->crc_holds) result_.copy = std::move(*copy);
      }
    }
  }

  // The record names its own two places; one that does not name where it was found is stale.
  void take_eow(Bytes record, std::uint64_t offset) {
    const std::array places{load_le<std::uint64_t>(record, 40), load_le<std::uint64_t>(record, 48)};
    if (places[0] == offset || places[1] == offset) result_.eow_offsets = places;
  }

  bool done(std::uint64_t at) const noexcept {
    if (!result_.copy) return hits_ >= kMaxSearchHits;
    return result_.eow_offsets || at >= kBitlockerSearchBytes;
  }

  BlockDevice& device_;
  const std::uint64_t end_;
  std::uint64_t data_end_ = 0;  // what lies before has to be read
  SearchResult result_;
  std::size_t hits_ = 0;
};

// What the boot sector says, or the block that was relocated, if its size is known twice.
std::uint32_t sector_bytes_of(const BitlockerBootSector& boot, const BitlockerMetadata& metadata) {
  constexpr std::uint32_t kUsual = 512;
  if (boot.sector_bytes != 0) return boot.sector_bytes;
  if (metadata.virtualized_sectors == 0) return kUsual;
  for (const std::uint32_t sector_bytes : {512U, 1024U, 2048U, 4096U}) {
    if (std::uint64_t{metadata.virtualized_sectors} * sector_bytes ==
        metadata.virtualized_bytes()) {
      return sector_bytes;
    }
  }
  return kUsual;
}

FoundBitlocker found_with(BitlockerBootSector boot, bool damaged,
                          std::vector<BitlockerMetadata> copies) {
  FoundBitlocker found;
  found.boot = std::move(boot);
  found.boot_damaged = damaged;
  found.copies = std::move(copies);
  found.sector_bytes = sector_bytes_of(found.boot, found.copies.front());
  return found;
}

// `known`: what the boot sector still says.
Result<std::optional<FoundBitlocker>> search(BlockDevice& device, std::uint64_t bytes,
                                             const BitlockerBootSector& known, Notices& notices) {
  SearchResult hit = Search(device, bytes, known.eow_offsets).run();
  if (!hit.copy) return std::optional<FoundBitlocker>();
  notices.warn("bitlocker boot sector",
               "it is damaged: the metadata was found by searching, and the volume opens "
               "read-only");
  BitlockerBootSector boot;
  boot.eow_offsets = hit.eow_offsets;
  if (!boot.eow_offsets) {
    notices.warn(
        "bitlocker boot sector",
        "whether the volume was being encrypted is not known without it: no record of that "
        "was found, and what was never encrypted would read as noise");
  }
  boot.metadata_offsets.assign(hit.copy->offsets.begin(), hit.copy->offsets.end());
  CopyReader reader(device, notices);
  reader.read(boot.metadata_offsets);
  return std::optional(found_with(std::move(boot), true, reader.take()));
}

}  // namespace

Result<std::optional<FoundBitlocker>> find_bitlocker(BlockDevice& device, Notices& notices) {
  std::array<std::byte, kBitlockerBootBytes> sector{};
  if (!device.in_range(0, sector.size())) return std::optional<FoundBitlocker>();
  if (auto done = engine::read_bytes(device, 0, sector, "boot sector"); !done) {
    return std::move(done).error();
  }
  auto boot = parse_bitlocker_boot_sector(sector);
  if (boot && !*boot) {
    // Only where nothing explains what is there: most partitions are none of ours.
    if (!engine::identify_content(device).empty()) return std::optional<FoundBitlocker>();
    const bool wiped = std::ranges::all_of(sector, [](std::byte b) { return b == std::byte{}; });
    return search(device, wiped ? kBitlockerSearchBytes : kBitlockerGlanceBytes, {}, notices);
  }
  Notices of_copies;
  CopyReader reader(device, of_copies);
  std::optional<Error> error;
  BitlockerBootSector known;
  if (!boot) {
    error = std::move(boot).error();
  } else {
    known = std::move(**boot);
    reader.read(known.metadata_offsets);
    auto copies = reader.take();
    if (!copies.empty()) {
      notices.append(of_copies);
      return std::optional(found_with(std::move(known), false, std::move(copies)));
    }
    error = reader.why_none();
  }
  auto searched = search(device, device.size_bytes(), known, notices);
  if (!searched || *searched) return searched;
  notices.append(of_copies);
  return std::move(*error).within(kWhere);
}

}  // namespace latchkey::keyslots
