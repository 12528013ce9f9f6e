#include "tools/logical_volumes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::array<std::string_view, 5> kBesideRoot = {"usrlv", "varlv", "homelv", "tmplv",
                                                         "optlv"};

bool is_on(const FoundLogicalVolume& one, const std::string& region) {
  return std::find(one.on.begin(), one.on.end(), region) != one.on.end();
}

std::string list_of(const std::vector<const FoundLogicalVolume*>& volumes) {
  std::string out;
  for (const FoundLogicalVolume* one : volumes) out += (out.empty() ? "" : ", ") + describe(*one);
  return out;
}

Error cannot_be_given(const FoundLogicalVolume& one) {
  return Error(ErrorCode::kNotSupported, one.name + ": " + one.volume.why_not)
      .with_hint(
          "only linear volumes are mapped; for others expose the image, losetup the file of the "
          "partition, then vgchange -ay");
}

}  // namespace

void find_logical_volumes(Image& image) {
  image.logical_volumes.clear();
  image.logical_notices = {};
  std::vector<engine::LvmSource> sources;
  const auto consider = [&](const Region& region) {
    if (region.volume && !region.volume->open()) return;
    const auto type =
        region.volume ? engine::identify_content(*region.view()).type : region.content.type;
    if (type == "LVM2_member") sources.push_back({region.name(), region.view()});
  };
  if (image.partitions.empty()) consider(image.disk);
  for (const Region& region : image.partitions) consider(region);
  if (sources.empty()) return;
  for (engine::VolumeGroup& group : engine::find_volume_groups(sources, image.logical_notices)) {
    // Its folder lies beside the files of `disk` and the partitions.
    const bool taken = group.name == "disk" ||
                       std::any_of(image.partitions.begin(), image.partitions.end(),
                                   [&](const Region& one) { return one.name() == group.name; });
    if (taken) group.name += "@" + (group.on.empty() ? std::string() : group.on.front());
    for (engine::LogicalVolume& volume : group.volumes) {
      FoundLogicalVolume found;
      found.group = group.name;
      found.name = group.name + "/" + volume.name;
      found.on = group.on;
      if (volume.device) found.content = engine::identify_content(*volume.device);
      found.volume = std::move(volume);
      image.logical_volumes.push_back(std::move(found));
    }
  }
}

std::string describe(const FoundLogicalVolume& one) {
  if (!one.volume.device) return one.name + " (cannot be mapped)";
  std::string text =
      fmt::format("{} ({}", one.name, one.content.empty() ? "data" : one.content.type);
  if (!one.content.label.empty()) text += fmt::format(" '{}'", one.content.label);
  return text + ")";
}

Result<const FoundLogicalVolume*> named_volume(const Image& image, const std::string& name) {
  std::vector<const FoundLogicalVolume*> all;
  std::vector<const FoundLogicalVolume*> named;
  for (const FoundLogicalVolume& one : image.logical_volumes) {
    all.push_back(&one);
    if (one.name == name || one.volume.name == name) named.push_back(&one);
  }
  if (named.size() > 1) {
    return Error(ErrorCode::kUsage,
                 fmt::format("--volume: {} could be any of {}", name, list_of(named)))
        .with_hint("give the name of the group, too: --volume " + shell_quoted(named[0]->name));
  }
  if (named.empty()) {
    return Error(ErrorCode::kUsage,
                 all.empty() ? "--volume: there are no logical volumes that can be seen"
                             : fmt::format("--volume: there is no {}, but {}", name, list_of(all)));
  }
  if (!named.front()->volume.device) return cannot_be_given(*named.front());
  return named.front();
}

Result<const FoundLogicalVolume*> likely_volume(const Image& image, const std::string& on) {
  std::vector<const FoundLogicalVolume*> mountable;
  std::vector<const FoundLogicalVolume*> all;
  for (const FoundLogicalVolume& one : image.logical_volumes) {
    if (!is_on(one, on)) continue;
    all.push_back(&one);
    if (one.content.is_file_system()) mountable.push_back(&one);
  }
  if (mountable.size() == 1) return mountable.front();
  if (mountable.empty()) {
    if (all.size() == 1 && !all.front()->volume.device) return cannot_be_given(*all.front());
    return Error(ErrorCode::kNotSupported,
                 all.empty() ? on + " is LVM's, but no logical volume in it can be seen"
                             : fmt::format("no logical volume on {} holds a file system: {}", on,
                                           list_of(all)))
        .with_hint("latchkey expose gives their bytes as files");
  }
  const auto azure_root = [&](const FoundLogicalVolume* one) {
    return one->volume.name == "rootlv" &&
           std::any_of(all.begin(), all.end(), [&](const FoundLogicalVolume* other) {
             return other->group == one->group &&
                    std::find(kBesideRoot.begin(), kBesideRoot.end(), other->volume.name) !=
                        kBesideRoot.end();
           });
  };
  if (std::count_if(mountable.begin(), mountable.end(), azure_root) == 1) {
    return *std::find_if(mountable.begin(), mountable.end(), azure_root);
  }
  return Error(ErrorCode::kUsage, "several logical volumes could be meant: " + list_of(mountable))
      .with_hint("say which: --volume " + shell_quoted(mountable.front()->name));
}

}  // namespace latchkey::tools
