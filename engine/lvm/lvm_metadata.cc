#include "engine/lvm/lvm_metadata.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/lvm/lvm_text.h"

namespace latchkey::engine {
namespace {

constexpr std::uint64_t kLvmSectorBytes = 512;
constexpr std::size_t kMaxNameBytes = 127;
constexpr std::size_t kMaxRuns = 200'000;
// Sizes stay below 2^63 bytes, so that sums of two of them cannot wrap.
constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();

Error damaged_metadata(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

std::string text_or_empty(const LvmSection& section, std::string_view key) {
  const std::string* text = section.text(key);
  return text == nullptr ? std::string() : printable(text->substr(0, 64));
}

// The group being read, and what its parts need of each other.
class GroupReader {
 public:
  explicit GroupReader(LvmGroup& group) : group_(group) {}

  Result<void> read(const LvmSection& section) {
    const auto sequence = section.number("seqno");
    const auto extent_sectors = section.number("extent_size");
    group_.uuid = text_or_empty(section, "id");
    if (group_.uuid.empty() || !sequence) return damaged_metadata("it has no id or no seqno");
    if (!extent_sectors || *extent_sectors == 0 || *extent_sectors > kMaxBytes / kLvmSectorBytes) {
      return damaged_metadata("its extent_size makes no sense");
    }
    group_.sequence = *sequence;
    group_.extent_bytes = *extent_sectors * kLvmSectorBytes;
    group_.writable = section.lists("status", "WRITE");
    if (auto done = read_physical(section); !done) return done;
    const LvmSection* volumes = section.section("logical_volumes");
    if (volumes == nullptr) return {};  // an empty group
    for (const auto& [name, volume] : volumes->sections()) {
      auto read_volume = read_logical(name, *volume);
      if (!read_volume) return std::move(read_volume).error().within(printable(name));
      group_.logical.push_back(std::move(*read_volume));
    }
    note_snapshots();
    refuse_overlaps();
    return {};
  }

 private:
  Result<void> read_physical(const LvmSection& section) {
    const LvmSection* volumes = section.section("physical_volumes");
    if (volumes == nullptr) return damaged_metadata("it has no physical volumes");
    std::set<std::string> uuids;
    for (const auto& [name, volume] : volumes->sections()) {
      const auto start = volume->number("pe_start");
      const auto count = volume->number("pe_count");
      LvmPhysicalVolume out;
      out.name = name;
      out.uuid = text_or_empty(*volume, "id");
      if (out.uuid.empty() || !start || !count || *start > kMaxBytes / kLvmSectorBytes ||
          *count > (kMaxBytes - *start * kLvmSectorBytes) / group_.extent_bytes) {
        return damaged_metadata(
            fmt::format("{}: its id, pe_start or pe_count makes no sense", printable(name)));
      }
      if (!uuids.insert(out.uuid).second) {
        return damaged_metadata(
            fmt::format("{}: another physical volume has its id", printable(name)));
      }
      out.start = *start * kLvmSectorBytes;
      out.extents = *count;
      out.missing = volume->lists("flags", "MISSING");
      physical_index_.emplace(name, group_.physical.size());
      group_.physical.push_back(std::move(out));
    }
    return {};
  }

  Result<LvmLogicalVolume> read_logical(const std::string& name, const LvmSection& section) {
    LvmLogicalVolume out;
    if (!is_lvm_name(name)) return damaged_metadata("this is not the name of a logical volume");
    out.name = name;
    out.uuid = text_or_empty(section, "id");
    out.visible = section.lists("status", "VISIBLE");
    out.writable = section.lists("status", "WRITE");
    // By where they begin; their names do not say.
    std::map<std::uint64_t, const LvmSection*> segments;
    for (const auto& [key, segment] : section.sections()) {
      if (!key.starts_with("segment")) continue;
      const auto start = segment->number("start_extent");
      if (!start || !segments.emplace(*start, segment.get()).second) {
        return damaged_metadata("two segments begin at the same extent, or one nowhere");
      }
    }
    const auto expected = section.number("segment_count");
    if (segments.empty() || expected != segments.size()) {
      return damaged_metadata("it does not have as many segments as it says");
    }
    for (const auto& [start, segment] : segments) {
      const auto count = segment->number("extent_count");
      if (!count || *count == 0 || start != out.extents ||
          *count > kMaxBytes / group_.extent_bytes - out.extents) {
        return damaged_metadata("its segments overlap, leave a gap or make no sense");
      }
      out.extents += *count;
      if (auto done = read_segment(*segment, *count, out); !done) return std::move(done).error();
    }
    return out;
  }

  Result<void> read_segment(const LvmSection& segment, std::uint64_t extents,
                            LvmLogicalVolume& out) {
    const std::string* type = segment.text("type");
    if (type == nullptr) return damaged_metadata("a segment has no type");
    if (*type == "snapshot") {
      for (const char* key : {"cow_store", "merging_store"}) {
        if (const std::string* store = segment.text(key)) stores_.insert(*store);
        const std::string* origin = segment.text("origin");
        if (segment.text(key) != nullptr && origin != nullptr) {
          (key[0] == 'm' ? merging_ : origins_).insert(*origin);
        }
      }
    }
    if (*type != "striped" && *type != "linear") {
      refuse(out, fmt::format("it is of the kind '{}'", printable(type->substr(0, 40))));
      return {};
    }
    const auto stripes = segment.number("stripe_count");
    const auto* places = segment.list("stripes");
    if (!stripes || places == nullptr || places->size() != 2 * *stripes || places->empty()) {
      return damaged_metadata("a segment does not say where it lies");
    }
    if (*stripes > 1) {
      refuse(out, fmt::format("it is striped over {} physical volumes", *stripes));
      return {};
    }
    const auto* on = std::get_if<std::string>(&(*places)[0]);
    const auto* first = std::get_if<std::int64_t>(&(*places)[1]);
    if (on == nullptr || first == nullptr || *first < 0) {
      return damaged_metadata("a segment does not say where it lies");
    }
    const auto physical = physical_index_.find(*on);
    if (physical == physical_index_.end()) {
      // A logical volume below a logical one: pvmove was under way.
      refuse(out, fmt::format("a part of it lies on '{}', which is no physical volume",
                              printable(on->substr(0, 40))));
      return {};
    }
    const LvmRun run{physical->second, static_cast<std::uint64_t>(*first), extents};
    const std::uint64_t there = group_.physical[run.physical].extents;
    if (run.first_extent > there || run.extents > there - run.first_extent) {
      return damaged_metadata(
          fmt::format("a segment takes extents {} to {} of a physical volume of {}",
                      run.first_extent, run.first_extent + run.extents, there));
    }
    if (++runs_ > kMaxRuns) return damaged_metadata("there are too many segments");
    out.runs.push_back(run);
    return {};
  }

  static void refuse(LvmLogicalVolume& volume, std::string why) {
    if (volume.why_not.empty()) volume.why_not = std::move(why);
  }

  // A snapshot's store is a linear volume full of differences, not of a file system. Its origin can
  // be read, but a write would change what the snapshot shows.
  void note_snapshots() {
    for (LvmLogicalVolume& volume : group_.logical) {
      if (stores_.contains(volume.name)) refuse(volume, "it is a snapshot: differences, not data");
      if (merging_.contains(volume.name)) refuse(volume, "a snapshot is being merged into it");
      if (origins_.contains(volume.name)) volume.read_only_reason = "it has a snapshot";
    }
  }

  // Two volumes cannot own the same bytes. Whichever is right, neither can be trusted.
  void refuse_overlaps() {
    struct Owned {
      LvmRun run;
      LvmLogicalVolume* owner;
    };
    std::vector<Owned> all;
    for (LvmLogicalVolume& volume : group_.logical) {
      for (const LvmRun& run : volume.runs) all.push_back({run, &volume});
    }
    std::sort(all.begin(), all.end(), [](const Owned& a, const Owned& b) {
      return std::pair(a.run.physical, a.run.first_extent) <
             std::pair(b.run.physical, b.run.first_extent);
    });
    const Owned* furthest = nullptr;
    for (const Owned& one : all) {
      if (furthest != nullptr && furthest->run.physical == one.run.physical &&
          one.run.first_extent < furthest->run.first_extent + furthest->run.extents) {
        refuse(*one.owner, "the same extents belong to " + furthest->owner->name);
        refuse(*furthest->owner, "the same extents belong to " + one.owner->name);
      }
      const bool further = furthest == nullptr || furthest->run.physical != one.run.physical ||
                           one.run.first_extent + one.run.extents >
                               furthest->run.first_extent + furthest->run.extents;
      if (further) furthest = &one;
    }
  }

  LvmGroup& group_;
  std::map<std::string, std::size_t, std::less<>> physical_index_;
  std::set<std::string, std::less<>> stores_;
  std::set<std::string, std::less<>> origins_;
  std::set<std::string, std::less<>> merging_;
  std::size_t runs_ = 0;
};

}  // namespace

bool is_lvm_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes || name == "." || name == ".." ||
      name.front() == '-') {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '+';
  });
}

Result<LvmGroup> parse_lvm_group(std::string_view text) {
  auto root = parse_lvm_text(text);
  if (!root) return std::move(root).error();
  if (const std::string* contents = root->text("contents");
      contents != nullptr && *contents != "Text Format Volume Group") {
    return Error(ErrorCode::kNotSupported,
                 "lvm metadata: it holds '" + printable(contents->substr(0, 64)) + "'");
  }
  const auto version = root->number("version");
  if (version && *version != 1) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("lvm metadata: version {} is not known", *version));
  }
  if (root->sections().size() != 1) {
    return damaged_metadata(fmt::format("lvm metadata: it describes {} volume groups, not one",
                                        root->sections().size()));
  }
  const auto& [name, section] = *root->sections().begin();
  if (!is_lvm_name(name)) return damaged_metadata("lvm metadata: the group's name cannot be one");
  LvmGroup group;
  group.name = name;
  if (auto done = GroupReader(group).read(*section); !done) {
    return std::move(done).error().within("volume group " + name);
  }
  return group;
}

}  // namespace latchkey::engine
