#include "tools/mount_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/logical_volumes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct Candidate {
  const Region* region;
  engine::ContentSignature content;
  bool unlocked;

  bool is_lvm() const { return content.type == "LVM2_member"; }
  std::string describe() const {
    std::string text = fmt::format("{} ({}", region->name(), content.type);
    if (!content.label.empty()) text += fmt::format(" '{}'", content.label);
    return text + ")";
  }
};

bool is_ext(const std::string& type) {
  return type == "ext2" || type == "ext3" || type == "ext4";
}

Candidate look_at(const Region& region) {
  return {&region, engine::identify_content(*region.view()),
          region.volume.has_value() && region.volume->open()};
}

// What to say of a region that was named, or is the only one, and holds no file system.
Error nothing_to_mount(const Candidate& candidate) {
  const std::string name = candidate.region->name();
  const std::string& type = candidate.content.type;
  if (candidate.region->volume && !candidate.unlocked) {
    return candidate.region->volume->error ? *candidate.region->volume->error
                                           : Error(ErrorCode::kKeyNeeded, name + " is locked");
  }
  if (type == "linux_raid_member") {
    return Error(ErrorCode::kNotSupported, name + " is a member of a RAID array, not a file system")
        .with_hint("expose every member, losetup their files, then mdadm --assemble");
  }
  if (type.empty()) {
    return Error(ErrorCode::kNotSupported, name + " holds no file system that is recognised")
        .with_hint(candidate.unlocked
                       ? "latchkey expose gives its bytes as a file"
                       : "if it is a volume whose header is kept apart, name that: --header FILE");
  }
  return Error(ErrorCode::kNotSupported, fmt::format("{} holds {}, not a file system", name, type))
      .with_hint("latchkey expose gives its bytes as a file");
}

// Partitions of one volume group mean the same: its logical volumes.
void merge_groups(const Image& image, std::vector<Candidate>& candidates) {
  const auto share_group = [&](const Candidate& a, const Candidate& b) {
    const auto& all = image.logical_volumes;
    return a.is_lvm() && b.is_lvm() &&
           std::any_of(all.begin(), all.end(), [&](const FoundLogicalVolume& one) {
             const auto has = [&](const Candidate& candidate) {
               return std::find(one.on.begin(), one.on.end(), candidate.region->name()) !=
                      one.on.end();
             };
             return has(a) && has(b);
           });
  };
  for (auto first = candidates.begin(); first != candidates.end(); ++first) {
    candidates.erase(
        std::remove_if(first + 1, candidates.end(),
                       [&](const Candidate& other) { return share_group(*first, other); }),
        candidates.end());
  }
}

Result<Candidate> only_one(const Image& image, std::vector<Candidate> candidates) {
  merge_groups(image, candidates);
  if (candidates.size() == 1) return std::move(candidates.front());
  std::string names;
  for (const Candidate& one : candidates) {
    names += (names.empty() ? "" : ", ") + one.describe();
  }
  return Error(ErrorCode::kUsage, "several file systems could be meant: " + names)
      .with_hint(fmt::format("say which: --partition {}", candidates.front().region->number));
}

Result<Candidate> choose(const Image& image, std::optional<unsigned> partition) {
  std::vector<const Region*> regions;
  for (const Region& region : image.partitions) regions.push_back(&region);
  if (regions.empty()) regions.push_back(&image.disk);

  if (partition) {
    const auto named = std::find_if(regions.begin(), regions.end(), [&](const Region* region) {
      return region->number == *partition;
    });
    if (named == regions.end()) {  // survey_image() says so first, with more to say
      return Error(ErrorCode::kUsage,
                   fmt::format("{} has no partition {}", image.path, *partition));
    }
    Candidate candidate = look_at(**named);
    if (!candidate.content.is_file_system() && !candidate.is_lvm()) {
      return nothing_to_mount(candidate);
    }
    return candidate;
  }

  std::vector<Candidate> unlocked;  // with a file system or LVM inside
  std::vector<Candidate> opaque;    // unlocked, with something else inside
  std::vector<Candidate> plain;
  for (const Region* region : regions) {
    Candidate candidate = look_at(*region);
    const bool mountable =
        candidate.content.is_file_system() ||
        (candidate.is_lvm() && (!region->volume.has_value() || candidate.unlocked));
    if (candidate.unlocked) {
      (mountable ? unlocked : opaque).push_back(std::move(candidate));
    } else if (mountable) {
      plain.push_back(std::move(candidate));
    }
  }
  if (!unlocked.empty()) return only_one(image, std::move(unlocked));
  // A key was given for it, so it is what is meant: /boot beside it is not an answer.
  if (!opaque.empty()) return nothing_to_mount(opaque.front());
  if (plain.size() > 1) {
    const auto efi = std::remove_if(plain.begin(), plain.end(), [](const Candidate& candidate) {
      return candidate.region->is_efi_system_partition();
    });
    if (efi != plain.begin()) plain.erase(efi, plain.end());
  }
  if (!plain.empty()) return only_one(image, std::move(plain));
  if (regions.size() == 1) return nothing_to_mount(look_at(*regions.front()));
  return Error(ErrorCode::kNotSupported, image.path + " holds no file system that is recognised")
      .with_hint("latchkey info " + image.path + " shows what is in the image");
}

Error read_only(const std::string& name, const std::string& reason) {
  return Error(ErrorCode::kNotSupported,
               fmt::format("{} can only be read{}{}", name, reason.empty() ? "" : ": ", reason))
      .with_hint("leave out --read-write");
}

Result<Driver> choose_driver(const engine::ContentSignature& content, bool is_root) {
  if (content.type == "ntfs") return Driver::kNtfs3g;
  if (is_root) return Driver::kKernel;
  if (is_ext(content.type)) return Driver::kFuse2fs;
  return Error(ErrorCode::kSystem, fmt::format("mounting {} needs root", content.type));
}

Result<MountPlan> plan_region(const Region& region, engine::ContentSignature content,
                              bool read_write, bool is_root) {
  auto driver = choose_driver(content, is_root);
  if (!driver.ok()) return std::move(driver).error().within(region.name());
  if (read_write && !region.view()->writable()) {
    return read_only(region.name(), region.volume ? region.volume->read_only_reason : "");
  }
  MountPlan plan;
  plan.source = {region.name(), content.type, region.view()};
  plan.content = std::move(content);
  plan.driver = *driver;
  plan.read_write = read_write;
  return plan;
}

Result<MountPlan> plan_logical(const Image& image, const FoundLogicalVolume& chosen,
                               bool read_write, bool is_root) {
  if (!chosen.content.is_file_system()) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format(
                     "{} holds {}, not a file system", chosen.name,
                     chosen.content.empty() ? "nothing that is recognised" : chosen.content.type))
        .with_hint("latchkey expose gives its bytes as a file");
  }
  auto driver = choose_driver(chosen.content, is_root);
  if (!driver.ok()) return std::move(driver).error().within(chosen.name);
  if (read_write && !chosen.volume.device->writable()) {
    std::string reason = chosen.volume.read_only_reason;
    for (const Region* region : image.encrypted()) {
      const bool below =
          std::find(chosen.on.begin(), chosen.on.end(), region->name()) != chosen.on.end();
      if (reason.empty() && below) reason = region->volume->read_only_reason;
    }
    return read_only(chosen.name, reason);
  }
  MountPlan plan;
  plan.source = {chosen.name, chosen.content.type, chosen.volume.device};
  plan.content = chosen.content;
  plan.driver = *driver;
  plan.read_write = read_write;
  return plan;
}

}  // namespace

Result<MountPlan> plan_mount(const Image& image, const MountChoice& choice, bool read_write,
                             bool is_root) {
  if (!choice.volume.empty()) {
    auto named = named_volume(image, choice.volume);
    if (!named.ok()) return std::move(named).error();
    return plan_logical(image, **named, read_write, is_root);
  }
  auto chosen = choose(image, choice.partition);
  if (!chosen.ok()) return std::move(chosen).error();
  if (!chosen->is_lvm()) {
    return plan_region(*chosen->region, std::move(chosen->content), read_write, is_root);
  }
  auto likely = likely_volume(image, chosen->region->name());
  if (!likely.ok()) return std::move(likely).error();
  auto plan = plan_logical(image, **likely, read_write, is_root);
  if (!plan.ok()) return plan;
  for (const FoundLogicalVolume& other : image.logical_volumes) {
    if (&other != *likely && other.content.is_file_system()) plan->others.push_back(other.name);
  }
  return plan;
}

std::string no_replay_options(const std::string& type) {
  // ext2 has no journal, but the ext4 driver, which mounts all three, takes the option from each.
  if (is_ext(type)) return "noload";
  // nouuid: the original disk may be mounted on the same machine.
  if (type == "xfs") return "norecovery,nouuid";
  if (type == "btrfs") return "rescue=nologreplay";
  if (type == "f2fs") return "norecovery";
  return {};
}

}  // namespace latchkey::tools
