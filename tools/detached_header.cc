#include "tools/detached_header.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/filesystems/read_file.h"
#include "engine/memory_device.h"
#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;

namespace {

// In the root of a /boot partition; behind /boot where it is a directory of a clear one.
constexpr std::array<const char*, 2> kPaths = {"luks/osluksheader", "boot/luks/osluksheader"};

struct Lifted {
  LiftedHeader place;
  engine::DevicePtr device;
};

bool is_linux_root(const engine::ContentSignature& content) {
  return content.type == "LVM2_member" || content.type == "xfs" || content.type == "btrfs" ||
         content.type.starts_with("ext");
}

std::vector<Region*> without_signature(Image& image) {
  std::vector<Region*> out;
  for (Region& region : image.partitions) {
    if (!region.volume && region.content.empty() && !is_for_boot_code(region)) {
      out.push_back(&region);
    }
  }
  return out;
}

// Encryption in place that has only begun leaves the old signature in sight.
std::vector<Region*> with_root_signature(Image& image, unsigned but) {
  std::vector<Region*> out;
  for (Region& region : image.partitions) {
    if (!region.volume && region.number != but && is_linux_root(region.content)) {
      out.push_back(&region);
    }
  }
  return out;
}

// The first one there is. `expected`: a partition waits for it, so that it matters when a file
// system cannot be read.
std::optional<Lifted> find_header(Image& image, bool expected) {
  for (const Region& region : image.partitions) {
    if (region.volume || !engine::can_read_files_of(region.content.type)) continue;
    for (const char* path : kPaths) {
      auto bytes = engine::read_file(*region.device, region.content.type, path);
      if (bytes && *bytes) {
        return Lifted{{region.number, path},
                      std::make_shared<engine::MemoryDevice>(std::move(**bytes))};
      }
      if (bytes || !expected) continue;
      image.notices.warn(
          region.name(),
          fmt::format("whether its {} holds {} could not be found out: {}; if it does, mount it "
                      "(latchkey mount {} DIR --partition {}) and name it: --header DIR/{}",
                      region.content.type, path, bytes.error().message(), shell_quoted(image.path),
                      region.number, path));
      break;
    }
  }
  return std::nullopt;
}

// The volume the header makes of a partition; nothing where it is not a header.
std::optional<FoundVolume> volume_with(const Region& region, const Lifted& lifted,
                                       engine::Notices& notices) {
  FoundVolume volume;
  volume.source = {region.device, lifted.device};
  volume.lifted = lifted.place;
  auto probed = keyslots::probe_volume(volume.source, notices);
  if (!probed) {
    volume.error = std::move(probed).error().within(region.name() + ": " + lifted.place.describe());
    return volume;
  }
  if (*probed == nullptr) return std::nullopt;
  volume.header = std::move(*probed);
  const std::string& unusable = volume.header->facts().unusable;
  volume.error = unusable.empty() ? Error(ErrorCode::kKeyNeeded, region.name() + " is locked")
                                  : Error(ErrorCode::kNotSupported, unusable).within(region.name());
  return volume;
}

void give_header(Image& image, const std::vector<Region*>& regions, const Lifted& lifted) {
  std::string names;
  for (Region* region : regions) {
    engine::Notices said;
    region->volume = volume_with(*region, lifted, said);
    if (region == regions.front()) image.notices.append(said, lifted.place.describe() + ": ");
    names += (names.empty() ? "" : " or ") + region->name();
  }
  image.notices.note(names, fmt::format("its header is taken from {}", lifted.place.describe()));
}

// What the keys make of one partition, where that is recognised.
engine::Result<engine::DevicePtr> open_with(FoundVolume& volume, const keyslots::OpenedKeys& keys,
                                            bool writable) {
  std::vector<engine::SecretBytes> copies;
  copies.reserve(keys.keys.size());
  for (const auto& key : keys.keys) {
    copies.push_back(key.empty() ? engine::SecretBytes()
                                 : engine::SecretBytes::copy_of(key.span()));
  }
  auto unlocked = volume.header->layout(std::move(copies));
  if (!unlocked) return std::move(unlocked).error();
  volume.opened_by = keys.opened_by;
  volume.read_only_reason = unlocked->read_only_reason;
  auto plaintext = keyslots::plaintext_of(volume.source, std::move(*unlocked), writable);
  if (plaintext && !is_linux_root(engine::identify_content(**plaintext))) {
    return engine::DevicePtr();
  }
  return plaintext;
}

Error not_recognised(const Image& image, const Region& region) {
  const LiftedHeader& lifted = *region.volume->lifted;
  return Error(ErrorCode::kDamaged,
               fmt::format("{}: the key opens the header in {}, but what that makes of the "
                           "partition is neither LVM nor a file system: the header may belong to "
                           "another one",
                           region.name(), lifted.describe()))
      .with_hint(fmt::format("to see it all the same, mount p{} (latchkey mount {} DIR --partition "
                             "{}) and name both: --header DIR/{} --partition {}",
                             lifted.partition, shell_quoted(image.path), lifted.partition,
                             lifted.path, region.number));
}

}  // namespace

bool is_for_boot_code(const Region& region) {
  static constexpr std::array<std::string_view, 4> kTypes = {
      "21686148-6449-6e6f-744e-656564454649",   // BIOS boot
      "9e1a2d38-c612-4316-aa26-8b49521e5a8b",   // PReP boot
      "e3c9e316-0b5c-4db8-817d-f92df00215ae",   // Microsoft reserved
      "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"};  // logical disk manager metadata
  return std::find(kTypes.begin(), kTypes.end(), region.entry.type) != kTypes.end() ||
         region.is_efi_system_partition();
}

void lift_detached_header(Image& image) {
  std::vector<Region*> regions = without_signature(image);
  const bool expected = !regions.empty();
  auto lifted = find_header(image, expected);
  if (!lifted) return;
  if (!expected) {
    engine::Notices ignored;
    std::vector<Region*> begun = with_root_signature(image, lifted->place.partition);
    const auto probe = begun.empty() ? std::nullopt : volume_with(*begun.front(), *lifted, ignored);
    if (!probe || !probe->header || probe->header->facts().state.empty()) {
      image.notices.note(lifted->place.describe(),
                         "a header may be there, but every partition is recognised without one");
      return;
    }
    // Encryption has begun. Which one it is the largest is, as far as anybody can tell.
    regions = {*std::max_element(begun.begin(), begun.end(), [](const Region* a, const Region* b) {
      return a->entry.length < b->entry.length;
    })};
  }
  give_header(image, regions, *lifted);
  if (!regions.front()->volume) {
    image.notices.warn(lifted->place.describe(),
                       "it is not a LUKS header, so nothing is opened with it");
  }
}

void unlock_lifted(Image& image, const keyslots::KeyRing& ring,
                   const keyslots::UnlockOptions& options, std::optional<unsigned> only_partition) {
  std::vector<Region*> regions;
  for (Region* region : image.encrypted()) {
    const FoundVolume& volume = *region->volume;
    if (volume.lifted && volume.header && volume.header->facts().unusable.empty() &&
        !volume.open() && (!only_partition || region->number == *only_partition)) {
      regions.push_back(region);
    }
  }
  if (regions.empty()) return;
  // They all have the same header: the keys are derived once.
  auto keys = keyslots::find_keys(*regions.front()->volume->header, ring, options);
  if (!keys) {
    for (Region* region : regions)
      region->volume->error = Error(keys.error()).within(region->name());
    return;
  }
  bool any_open = false;
  for (Region* region : regions) {
    auto plaintext = open_with(*region->volume, *keys, region->device->writable());
    if (!plaintext) {
      region->volume->error = std::move(plaintext).error().within(region->name());
    } else if (*plaintext == nullptr) {
      region->volume->error = not_recognised(image, *region);
    } else {
      region->volume->plaintext = std::move(*plaintext);
      region->volume->error.reset();
      any_open = true;
    }
  }
  if (!any_open) return;
  for (Region* region : regions) {
    if (!region->volume->open()) region->volume.reset();
  }
}

}  // namespace latchkey::tools
