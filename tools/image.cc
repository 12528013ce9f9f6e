#include "tools/image.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "engine/map_device.h"
#include "engine/piece_map.h"
#include "keyslots/luks/luks2_header.h"
#include "tools/detached_header.h"
#include "tools/logical_volumes.h"
#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// Looks for a volume in a region. What cannot be used is kept as the volume's error: the rest of
// the image may still be of use.
void probe_region(Region& region, const engine::DevicePtr& header, engine::Notices& notices) {
  FoundVolume volume;
  volume.source = {region.device, header};
  engine::Notices found;
  auto probed = keyslots::probe_volume(volume.source, found);
  notices.append(found, region.number == 0 ? "" : region.name() + " ");
  if (!probed) {
    volume.error = std::move(probed).error().within(region.name());
  } else if (*probed == nullptr) {
    return;
  } else {
    volume.header = std::move(*probed);
    const std::string& unusable = volume.header->facts().unusable;
    if (!unusable.empty()) {
      volume.error = Error(ErrorCode::kNotSupported, unusable).within(region.name());
    } else {
      volume.error = Error(ErrorCode::kKeyNeeded, region.name() + " is locked");
    }
  }
  region.volume = std::move(volume);
}

// Which region a detached header belongs to: the one the user named; the whole disk where there are
// no partitions; else the only partition whose content nothing else explains.
Result<Region*> region_for_header(Image& image, std::optional<unsigned> partition) {
  if (partition) {
    for (Region& region : image.partitions) {
      if (region.number == *partition) return &region;
    }
  }
  if (image.partitions.empty()) return &image.disk;
  std::vector<Region*> candidates;
  for (Region& region : image.partitions) {
    const bool maybe = region.content.empty() && !is_for_boot_code(region);
    if (maybe || region.content.type == "crypto_LUKS") {
      candidates.push_back(&region);
    }
  }
  if (candidates.size() == 1) return candidates.front();
  std::string names;
  for (const Region* region : candidates) names += (names.empty() ? "" : ", ") + region->name();
  return Error(ErrorCode::kUsage,
               candidates.empty() ? "--header: every partition holds something else already"
                                  : fmt::format("--header: it could belong to any of {}", names))
      .with_hint("say which partition it is for: --partition N");
}

Result<engine::DevicePtr> open_header(Image& image, const SurveyOptions& options) {
  if (options.header_path.empty()) return engine::DevicePtr();
  const engine::Access access = options.write_header ? engine::Access::kReadWrite
                                : options.access == engine::Access::kInspect
                                    ? engine::Access::kInspect
                                    : engine::Access::kReadOnly;
  auto header = engine::FileDevice::open(options.header_path, access, image.notices);
  if (!header) return std::move(header).error().within("--header");
  image.header_path = options.header_path;
  return engine::DevicePtr(std::move(*header));
}

Result<void> survey_partitions(Image& image) {
  auto table = engine::read_partition_table(*image.container.disk, image.notices);
  if (!table) return std::move(table).error();
  image.table = std::move(*table);
  for (const engine::Partition& entry : image.table.partitions) {
    Region region;
    region.number = entry.number;
    region.entry = entry;
    region.device = engine::make_slice(image.container.disk, entry.offset, entry.length);
    region.content = engine::identify_content(*region.device);
    image.partitions.push_back(std::move(region));
  }
  return {};
}

// A header from elsewhere gives bytes without any sense. It may be meant all the same: a backup
// from before the volume was formatted again by mistake.
void warn_of_other_header(const Region& region, engine::Notices& notices) {
  const std::string& here = region.content.uuid;
  if (region.content.type != "crypto_LUKS" || here.empty() || !region.volume->header) return;
  const std::string& given = region.volume->header->facts().uuid;
  if (given == here) return;
  notices.warn(
      "--header",
      fmt::format("it is the header of volume {}, but {} holds volume {}: without the right "
                  "header its plaintext is noise",
                  given, region.name(), here));
}

// By mistake, or because the disk was put to another use.
void warn_of_overwritten_disk(Image& image) {
  if (image.partitions.empty()) return;
  const std::string uuid = keyslots::overwritten_luks2(*image.disk.device);
  if (uuid.empty()) return;
  image.notices.warn(
      "disk",
      fmt::format("the partition table was written over the header of a LUKS2 volume ({}), whose "
                  "second copy is whole. If that volume is what should be here: latchkey header "
                  "repair --partition 0 --force --backup FILE",
                  uuid));
}

Result<void> survey_volumes(Image& image, const SurveyOptions& options) {
  auto header = open_header(image, options);
  if (!header) return std::move(header).error();
  Region* with_header = nullptr;
  if (*header) {
    auto chosen = region_for_header(image, options.partition);
    if (!chosen) return std::move(chosen).error();
    with_header = *chosen;
    probe_region(*with_header, *header, image.notices);
    if (!with_header->volume && !options.any_header) {
      return Error(ErrorCode::kDamaged, "--header: no volume header is in " + options.header_path)
          .with_hint("a detached LUKS header begins with the letters LUKS");
    }
    if (with_header->volume) warn_of_other_header(*with_header, image.notices);
    image.header_device = *header;
  }
  if (image.partitions.empty() && with_header != &image.disk) {
    probe_region(image.disk, nullptr, image.notices);
  }
  for (Region& region : image.partitions) {
    if (&region != with_header) probe_region(region, nullptr, image.notices);
  }
  warn_of_overwritten_disk(image);
  if (!*header) lift_detached_header(image);
  return {};
}

}  // namespace

std::vector<Region*> Image::encrypted() {
  std::vector<Region*> out;
  if (disk.volume) out.push_back(&disk);
  for (Region& region : partitions) {
    if (region.volume) out.push_back(&region);
  }
  return out;
}

std::vector<const Region*> Image::encrypted() const {
  std::vector<const Region*> out;
  if (disk.volume) out.push_back(&disk);
  for (const Region& region : partitions) {
    if (region.volume) out.push_back(&region);
  }
  return out;
}

Result<Image> survey_image(const std::string& path, const SurveyOptions& options) {
  Image image;
  image.path = path;
  auto file = engine::FileDevice::open(path, options.access, image.notices);
  if (!file) return std::move(file).error();
  image.file_bytes = (*file)->size_bytes();
  auto container = engine::open_container(*file, image.notices, path);
  if (!container) return std::move(container).error().within(path);
  image.container = std::move(*container);
  image.disk.device = image.container.disk;
  image.disk.content = engine::identify_content(*image.disk.device);
  if (auto done = survey_partitions(image); !done) return std::move(done).error().within(path);
  if (options.partition &&
      std::none_of(image.partitions.begin(), image.partitions.end(),
                   [&](const Region& region) { return region.number == *options.partition; })) {
    return Error(ErrorCode::kUsage, fmt::format("{} has no partition {}", path, *options.partition))
        .with_hint(image.partitions.empty()
                       ? "it has no partitions: leave out --partition"
                       : "latchkey info " + shell_quoted(path) + " lists them");
  }
  if (auto done = survey_volumes(image, options); !done) return std::move(done).error();
  find_logical_volumes(image);
  return image;
}

std::size_t unlock_image(Image& image, const keyslots::KeyRing& ring,
                         const keyslots::UnlockOptions& options,
                         std::optional<unsigned> only_partition) {
  for (Region* region : image.encrypted()) {
    FoundVolume& volume = *region->volume;
    if (only_partition && region->number != *only_partition) continue;
    if (volume.header && volume.header->facts().unusable.empty() && !volume.open() &&
        !volume.lifted) {
      auto unlocked = keyslots::unlock_volume(*volume.header, ring, options);
      if (unlocked) {
        volume.opened_by = unlocked->opened_by;
        volume.read_only_reason = unlocked->read_only_reason;
        auto plaintext =
            keyslots::plaintext_of(volume.source, std::move(*unlocked), region->device->writable());
        if (plaintext) {
          volume.plaintext = std::move(*plaintext);
          volume.error.reset();
        } else {
          volume.error = std::move(plaintext).error().within(region->name());
        }
      } else {
        volume.error = std::move(unlocked).error().within(region->name());
      }
    }
  }
  unlock_lifted(image, ring, options, only_partition);
  find_logical_volumes(image);
  const auto encrypted = image.encrypted();
  return static_cast<std::size_t>(
      std::count_if(encrypted.begin(), encrypted.end(), [&](const Region* region) {
        return region->volume->open() && (!only_partition || region->number == *only_partition);
      }));
}

namespace {

std::string describe(const Region& region) {
  std::string content = engine::identify_content(*region.view()).type;
  if (content.empty()) content = "data";
  if (!region.volume) return content;
  const std::string format =
      region.volume->header ? region.volume->header->facts().format : "an encrypted volume";
  return region.volume->open() ? content + " inside " + format : format + ", locked";
}

// The disk as a guest would see it once unlocked. Plaintext starts at its partition's first byte;
// what a header took away from its length reads as zeros and takes no write.
engine::DevicePtr unlocked_disk(const Image& image) {
  std::vector<const Region*> open;
  for (const Region& region : image.partitions) {
    if (region.volume && region.volume->open()) open.push_back(&region);
  }
  if (open.empty()) return image.disk.view();
  std::sort(open.begin(), open.end(),
            [](const Region* a, const Region* b) { return a->entry.offset < b->entry.offset; });
  const engine::DevicePtr& raw = image.container.disk;
  std::vector<engine::DevicePtr> below{raw};
  auto map = std::make_unique<engine::PieceMap>();
  for (const Region* region : open) {
    map->data(0, map->size_bytes(), region->entry.offset - map->size_bytes());
    const engine::DevicePtr& plaintext = region->volume->plaintext;
    const std::uint64_t length = std::min(plaintext->size_bytes(), region->entry.length);
    map->data(below.size(), 0, length);
    map->zeros(region->entry.length - length);
    below.push_back(plaintext);
  }
  map->data(0, map->size_bytes(), raw->size_bytes() - map->size_bytes());
  return std::make_shared<engine::MapDevice>(std::move(below), std::move(map), raw->geometry());
}

}  // namespace

std::string what_can_be_typed(const std::vector<const Region*>& encrypted) {
  bool passphrase = false;
  bool recovery_password = false;
  for (const Region* region : encrypted) {
    if (!region->volume->header) continue;
    for (const keyslots::Protector& protector : region->volume->header->protectors()) {
      if (!protector.unusable.empty()) continue;
      for (const keyslots::SecretKind kind : protector.takes) {
        passphrase = passphrase || kind == keyslots::SecretKind::kPassphrase;
        recovery_password = recovery_password || kind == keyslots::SecretKind::kRecoveryPassword;
      }
    }
  }
  std::string text = passphrase ? "passphrase" : "";
  if (recovery_password) text += passphrase ? " or recovery password" : "recovery password";
  return text;
}

frontends::ExportList make_exports(const Image& image, std::optional<unsigned> preferred) {
  frontends::ExportList list;
  const bool whole = image.partitions.empty();
  list.exports.push_back(
      {"disk", whole ? describe(image.disk) : "the whole disk", unlocked_disk(image)});
  std::vector<std::size_t> unlocked;
  std::optional<std::size_t> named;
  for (const Region& region : image.partitions) {
    const std::size_t index = list.exports.size();
    list.exports.push_back({region.name(), describe(region), region.view()});
    if (region.volume && region.volume->open()) unlocked.push_back(index);
    if (preferred && region.number == *preferred) named = index;
  }
  for (const FoundLogicalVolume& one : image.logical_volumes) {
    if (!one.volume.device) continue;
    const std::string content = one.content.empty() ? "data" : one.content.type;
    list.exports.push_back({one.name, content + " in a logical volume", one.volume.device});
  }
  if (named) {
    list.default_index = *named;
  } else if (unlocked.size() == 1) {
    list.default_index = unlocked.front();
  }
  return list;
}

}  // namespace latchkey::tools
