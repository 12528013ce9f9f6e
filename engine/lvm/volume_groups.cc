#include "engine/lvm/volume_groups.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "engine/lvm/lvm_member.h"
#include "engine/lvm/lvm_metadata.h"
#include "engine/map_device.h"
#include "engine/piece_map.h"

namespace latchkey::engine {
namespace {

struct Member {
  const LvmSource* source;
  LvmMember facts;
  std::string group;  // id of the group it describes; empty where it describes none
};

// The newest description of the group that this member has.
std::optional<LvmGroup> newest_group(const Member& member, Notices& notices) {
  std::optional<LvmGroup> newest;
  std::optional<Error> error;
  for (const std::string& text : member.facts.texts) {
    auto group = parse_lvm_group(text);
    if (!group) {
      if (!error) error = std::move(group).error();
    } else if (!newest || group->sequence > newest->sequence) {
      newest = std::move(*group);
    }
  }
  if (newest && error) {
    notices.warn(member.source->name + " lvm", error->message() + "; the other copy is used");
  } else if (error) {
    notices.damage(member.source->name + " lvm", error->message());
  }
  return newest;
}

// A group, and the devices its physical volumes were found on.
class Assembly {
 public:
  Assembly(const LvmGroup& group, const std::vector<Member>& members) : group_(group) {
    for (const LvmPhysicalVolume& physical : group.physical) {
      std::vector<const Member*> found;
      for (const Member& member : members) {
        const bool may_be = member.group.empty() || member.group == group.uuid;
        if (may_be && member.facts.uuid == physical.uuid) found.push_back(&member);
      }
      found_.push_back(std::move(found));
    }
  }

  VolumeGroup build() const {
    VolumeGroup out;
    out.name = group_.name;
    out.uuid = group_.uuid;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      for (const Member* member : found_[i]) out.on.push_back(member->source->name);
      if (found_[i].empty()) out.missing.push_back(group_.physical[i].uuid);
    }
    std::sort(out.on.begin(), out.on.end());
    for (const LvmLogicalVolume& volume : group_.logical) {
      if (volume.visible) out.volumes.push_back(build_volume(volume));
    }
    return out;
  }

 private:
  LogicalVolume build_volume(const LvmLogicalVolume& volume) const {
    LogicalVolume out;
    out.name = volume.name;
    out.uuid = volume.uuid;
    out.size_bytes = volume.extents * group_.extent_bytes;
    out.why_not = volume.why_not;
    for (const LvmRun& run : volume.runs) {
      if (out.why_not.empty()) out.why_not = why_not(run);
    }
    if (!out.why_not.empty()) return out;
    out.read_only_reason = volume.read_only_reason;
    if (!volume.writable) out.read_only_reason = "lvm marks it as read-only";
    if (!group_.writable) out.read_only_reason = "lvm marks its group as read-only";
    out.device = make_device(volume, out.read_only_reason.empty());
    return out;
  }

  // Empty where the run's bytes are there, on one device and inside it.
  std::string why_not(const LvmRun& run) const {
    const LvmPhysicalVolume& physical = group_.physical[run.physical];
    const auto& found = found_[run.physical];
    if (found.empty()) {
      return fmt::format("a part of it lies on physical volume {}, which is not in the image",
                         physical.uuid);
    }
    if (found.size() > 1) {
      return fmt::format("physical volume {} is there more than once, on {} and {}", physical.uuid,
                         found[0]->source->name, found[1]->source->name);
    }
    if (physical.missing) {
      return fmt::format("lvm had lost physical volume {} before: its bytes may be old",
                         physical.uuid);
    }
    const std::uint64_t offset = physical.start + run.first_extent * group_.extent_bytes;
    const std::uint64_t length = run.extents * group_.extent_bytes;
    const Member& member = *found.front();
    if (!member.source->device->in_range(offset, length)) {
      return fmt::format("it ends at byte {} of {}, which has only {}", offset + length,
                         member.source->name, member.source->device->size_bytes());
    }
    const auto touches = [&](std::uint64_t start, std::uint64_t size) {
      return start < offset + length && offset < start + size;
    };
    const auto& areas = member.facts.metadata_areas;
    if (touches(0, member.facts.label_end) ||
        std::any_of(areas.begin(), areas.end(),
                    [&](const LvmArea& area) { return touches(area.offset, area.length); })) {
      return "it overlaps the metadata of its physical volume";
    }
    return {};
  }

  DevicePtr make_device(const LvmLogicalVolume& volume, bool writable) const {
    std::vector<DevicePtr> below;
    std::map<std::size_t, std::size_t> index_of;  // physical volume -> device below
    auto map = std::make_unique<PieceMap>();
    Geometry geometry{0, 512, writable};
    for (const LvmRun& run : volume.runs) {
      const DevicePtr& device = found_[run.physical].front()->source->device;
      const auto [place, is_new] = index_of.emplace(run.physical, below.size());
      if (is_new) below.push_back(device);
      geometry.writable = geometry.writable && device->writable();
      geometry.sector_bytes = std::max(geometry.sector_bytes, device->geometry().sector_bytes);
      map->data(place->second,
                group_.physical[run.physical].start + run.first_extent * group_.extent_bytes,
                run.extents * group_.extent_bytes);
    }
    geometry.size_bytes = map->size_bytes();
    return std::make_shared<MapDevice>(std::move(below), std::move(map), geometry);
  }

  const LvmGroup& group_;
  std::vector<std::vector<const Member*>> found_;  // a physical volume each
};

// Groups that share their name get one that says where they are.
void tell_apart(std::vector<VolumeGroup>& groups) {
  std::map<std::string, int> uses;
  for (const VolumeGroup& group : groups) ++uses[group.name];
  std::set<std::string> taken;
  for (VolumeGroup& group : groups) {
    if (uses[group.name] > 1 && !group.on.empty()) group.name += "@" + group.on.front();
    while (!taken.insert(group.name).second) group.name += "@";
  }
}

}  // namespace

std::vector<VolumeGroup> find_volume_groups(const std::vector<LvmSource>& sources,
                                            Notices& notices) {
  std::vector<Member> members;
  std::map<std::string, LvmGroup> newest;  // by id
  std::uint64_t text_budget = kMaxLvmTextBytesOfImage;
  for (const LvmSource& source : sources) {
    Notices said;
    auto facts = read_lvm_member(*source.device, text_budget, said);
    notices.append(said, source.name + " ");
    if (!facts) {
      notices.damage(source.name + " lvm", facts.error().message());
      continue;
    }
    Member& member = members.emplace_back(Member{&source, std::move(*facts), {}});
    auto group = newest_group(member, notices);
    member.facts.texts = {};  // of many members they would be much
    if (!group) continue;
    member.group = group->uuid;
    const auto [known, is_new] = newest.try_emplace(group->uuid, *group);
    if (is_new || known->second.sequence == group->sequence) continue;
    notices.warn(member.source->name + " lvm",
                 fmt::format("the physical volumes of {} do not have the same metadata; the "
                             "newest is used",
                             group->name));
    if (group->sequence > known->second.sequence) known->second = std::move(*group);
  }
  std::vector<VolumeGroup> out;
  for (const auto& [uuid, group] : newest) {
    out.push_back(Assembly(group, members).build());
    for (const std::string& missing : out.back().missing) {
      notices.warn("lvm",
                   fmt::format("{}: physical volume {} is not in the image", group.name, missing));
    }
  }
  tell_apart(out);
  std::sort(out.begin(), out.end(),
            [](const VolumeGroup& a, const VolumeGroup& b) { return a.name < b.name; });
  return out;
}

}  // namespace latchkey::engine
