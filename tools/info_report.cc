#include "tools/info_report.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/bytes.h"
#include "tools/shell_quoted.h"
#include "tools/sizes.h"

namespace latchkey::tools {
namespace {

const char* container_name(const std::string& format) {
  if (format == "raw") return "raw image";
  if (format == "vhd") return "fixed VHD";
  if (format == "vhd-dynamic") return "dynamic VHD";
  return format.c_str();
}

const char* secret_name(keyslots::SecretKind kind) {
  switch (kind) {
    case keyslots::SecretKind::kPassphrase:
      return "passphrase";
    case keyslots::SecretKind::kKeyFile:
      return "key file";
    case keyslots::SecretKind::kRecoveryPassword:
      return "recovery password";
    case keyslots::SecretKind::kExternalKey:
      return "external key";
    case keyslots::SecretKind::kRawKey:
      return "raw key";
  }
  return "key";
}

std::string takes(const keyslots::Protector& protector) {
  std::string out;
  for (const keyslots::SecretKind kind : protector.takes) {
    out += (out.empty() ? "" : " or ") + std::string(secret_name(kind));
  }
  return out;
}

std::string content_text(const engine::ContentSignature& content) {
  if (content.empty()) return "nothing recognised";
  std::string out = content.type;
  if (!content.label.empty()) out += fmt::format(" \"{}\"", content.label);
  if (content.needs_recovery) out += " (not cleanly unmounted)";
  return out;
}

std::string region_content(const Region& region) {
  if (!region.volume) return content_text(region.content);
  const FoundVolume& volume = *region.volume;
  if (!volume.header) {
    const std::string content = content_text(region.content);
    return region.content.empty() ? "an encrypted volume that cannot be used"
                                  : content + ", cannot be used";
  }
  std::string out = volume.header->facts().format;
  if (volume.source.header) out += ", detached header";
  if (volume.lifted) out += fmt::format(" ({})", volume.lifted->describe());
  return out;
}

void add_partitions(std::string& out, const Image& image) {
  using Scheme = engine::PartitionTable::Scheme;
  if (image.table.scheme == Scheme::kNone) {
    out += fmt::format("  partitions        none; the disk holds {}\n", region_content(image.disk));
    return;
  }
  out += fmt::format("  partitions        {}, {}-byte sectors, {}\n",
                     image.table.scheme == Scheme::kGpt ? "GPT" : "MBR", image.table.sector_bytes,
                     image.table.disk_id);
  if (image.partitions.empty()) {
    out += "                    the table is empty\n";
    return;
  }
  std::size_t type_width = 4;
  for (const Region& region : image.partitions) {
    type_width =
        std::max(type_width, region.entry.type_name.empty() ? region.entry.type.size()
                                                            : region.entry.type_name.size());
  }
  out += fmt::format("\n  {:<4} {:>12} {:>12}  {:<{}}  {}\n", "", "start", "size", "type",
                     type_width, "content");
  for (const Region& region : image.partitions) {
    const engine::Partition& entry = region.entry;
    out += fmt::format("  {:<4} {:>12} {:>12}  {:<{}}  {}{}\n", region.name(),
                       human_size(entry.offset), human_size(entry.length),
                       entry.type_name.empty() ? entry.type : entry.type_name, type_width,
                       region_content(region),
                       entry.name.empty() ? "" : fmt::format("  [{}]", entry.name));
  }
}

// What opens it and what does not; where the description says the former already, only that.
std::string how_to_open(const keyslots::Protector& protector) {
  if (!protector.unusable.empty()) return "; " + protector.unusable;
  std::string out;
  if (!protector.needs_secret) out = "; opens with no key";
  const std::string secrets = takes(protector);
  if (!secrets.empty() && !protector.description.starts_with(secrets)) out += "; " + secrets;
  if (protector.priority == 0) out += fmt::format("; only with --keyslot {}", protector.number);
  if (protector.priority == 2) out += "; tried first";
  return out;
}

// What --unlock-cost found, a line below the protector.
void add_cost(std::string& out, const UnlockCosts* costs, unsigned region, unsigned protector) {
  if (costs == nullptr) return;
  const auto cost = costs->find({region, protector});
  if (cost == costs->end()) return;
  const std::string text = cost->second.why_not.empty()
                               ? fmt::format("{:.2f} s here", cost->second.seconds)
                               : "not measured: " + cost->second.why_not;
  out += fmt::format("  {:<17} {}\n", "", text);
}

void add_protectors(std::string& out, const Region& region, const UnlockCosts* costs) {
  const keyslots::VolumeHeader& header = *region.volume->header;
  bool any = false;
  for (const keyslots::Protector& protector : header.protectors()) {
    if (!protector.on_disk) continue;
    any = true;
    out += fmt::format("  {:<17} {}{}{}\n", protector.label, protector.description,
                       protector.created.empty() ? "" : ", made " + protector.created,
                       how_to_open(protector));
    if (!protector.id.empty()) {
      out += fmt::format("  {:<17} {}\n", "",
                         protector.matches.empty() ? "ID " + protector.id : protector.matches);
    }
    add_cost(out, costs, region.number, protector.number);
  }
  if (!any && header.key_count() > 0) {
    out += fmt::format("  no {} is in use: no key can open it\n", header.protector_noun());
  }
}

void add_volume(std::string& out, const Region& region, const UnlockCosts* costs) {
  const FoundVolume& volume = *region.volume;
  if (!volume.header) {  // the error begins with the region's name
    out += fmt::format("\n{}\n", volume.error->message());
    if (!volume.error->hint().empty()) {
      out += fmt::format("  hint: {}\n", volume.error->hint());
    }
    return;
  }
  const keyslots::VolumeFacts& facts = volume.header->facts();
  const std::string cipher = facts.key_bits == 0
                                 ? "not encrypted"
                                 : fmt::format("{}, {}-bit key", facts.cipher, facts.key_bits);
  out += fmt::format("\n{}: {}, {}, {}-byte sectors{}\n", region.name(), facts.format, cipher,
                     facts.sector_bytes,
                     facts.label.empty() ? "" : fmt::format(", \"{}\"", facts.label));
  out += fmt::format("  {:<17} {}\n", "uuid", facts.uuid);
  out += fmt::format("  {:<17} {} at byte {}{}\n", "payload", human_size(facts.payload_bytes),
                     facts.payload_offset, facts.detached ? ", header in a file of its own" : "");
  if (!facts.state.empty()) out += fmt::format("  {:<17} {}\n", "state", facts.state);
  if (!facts.unusable.empty()) out += fmt::format("  {:<17} {}\n", "cannot open", facts.unusable);
  add_protectors(out, region, costs);
}

void add_logical_volumes(std::string& out, const Image& image) {
  std::string group;
  for (const FoundLogicalVolume& one : image.logical_volumes) {
    if (one.group != group) {
      group = one.group;
      out += fmt::format("\nvolume group {}, on {}\n", group, fmt::join(one.on, ", "));
    }
    out += fmt::format(
        "  {:<17} {:>12}  {}\n", one.name, human_size(one.volume.size_bytes),
        one.volume.device ? content_text(one.content) : "cannot be mapped: " + one.volume.why_not);
  }
}

bool has_logical_volumes(const Image& image, const Region& region) {
  return std::any_of(image.logical_volumes.begin(), image.logical_volumes.end(),
                     [&](const FoundLogicalVolume& one) {
                       return std::find(one.on.begin(), one.on.end(), region.name()) !=
                              one.on.end();
                     });
}

// Volumes that a key may open.
std::vector<const Region*> openable_volumes(const Image& image) {
  std::vector<const Region*> out;
  for (const Region* region : image.encrypted()) {
    const keyslots::VolumeHeader* header = region->volume->header.get();
    if (header == nullptr || !header->facts().unusable.empty()) continue;
    const auto protectors = header->protectors();
    const bool any_slot = std::any_of(protectors.begin(), protectors.end(), [](const auto& slot) {
      return slot.on_disk && slot.unusable.empty();
    });
    if ((any_slot || header->key_count() == 0) && header->facts().payload_bytes > 0) {
      out.push_back(region);
    }
  }
  return out;
}

// What a person most likely wants: the first of the largest.
const Region& largest(const std::vector<const Region*>& regions) {
  return **std::max_element(regions.begin(), regions.end(), [](const Region* a, const Region* b) {
    return a->device->size_bytes() < b->device->size_bytes();
  });
}

// In place of --key, for the volume that is recommended.
std::string what_it_asks_for(const Image& image) {
  const std::string typed = what_can_be_typed({&largest(openable_volumes(image))});
  return typed.empty() ? "" : fmt::format("      (without --key it asks for the {})\n", typed);
}

// What `mount` would choose from, were nothing encrypted.
std::vector<const Region*> mountable_regions(const Image& image) {
  std::vector<const Region*> out;
  const auto consider = [&](const Region& region) {
    if (region.volume) return;
    if (region.content.is_file_system() || has_logical_volumes(image, region)) {
      out.push_back(&region);
    }
  };
  if (image.partitions.empty()) consider(image.disk);
  for (const Region& region : image.partitions) consider(region);
  const auto efi = std::stable_partition(out.begin(), out.end(), [](const Region* region) {
    return !region->is_efi_system_partition();
  });
  if (efi != out.begin()) out.erase(efi, out.end());
  return out;
}

std::string mount_command(const Image& image, const Region& region, bool name_it) {
  std::string command = "latchkey mount " + shell_quoted(image.path) + " DIR";
  if (name_it && region.number != 0) command += fmt::format(" --partition {}", region.number);
  return command;
}

// Where no command can be recommended: what the image may be.
std::string what_it_may_be(const Image& image) {
  for (const Region* region : image.encrypted()) {
    const keyslots::VolumeHeader* header = region->volume->header.get();
    if (header != nullptr && header->facts().payload_bytes == 0) {
      return fmt::format(
          "this is a header without its data; name both: latchkey info DATA --header {}",
          shell_quoted(image.path));
    }
  }
  if (!image.encrypted().empty()) return "";
  return "nothing in it is recognised; if it is the data of a volume whose header is kept apart, "
         "name "
         "that: --header FILE";
}

bool opens_with_no_key(const keyslots::VolumeHeader& header) {
  const auto protectors = header.protectors();
  return header.key_count() == 0 ||
         std::any_of(protectors.begin(), protectors.end(), [](const auto& protector) {
           return !protector.needs_secret && protector.unusable.empty();
         });
}

}  // namespace

bool all_usable(const Image& image) {
  if (image.notices.has_damage() || image.logical_notices.has_damage()) return false;
  const auto encrypted = image.encrypted();
  return std::all_of(encrypted.begin(), encrypted.end(), [](const Region* region) {
    return region->volume->header && region->volume->header->facts().unusable.empty();
  });
}

std::string next_command(const Image& image) {
  if (const auto volumes = openable_volumes(image); !volumes.empty()) {
    // --header has to be told whose it is, except where there is only one it could belong to.
    const bool header = !image.header_path.empty();
    const Region& chosen = largest(volumes);
    std::string command =
        mount_command(image, chosen, volumes.size() > 1 || (header && !image.partitions.empty()));
    if (header) command += " --header " + shell_quoted(image.header_path);
    return opens_with_no_key(*chosen.volume->header) ? command : command + " --key FILE";
  }
  const bool locked = !image.encrypted().empty();  // and nothing can be done about it
  if (const auto mountable = mountable_regions(image); !mountable.empty()) {
    return mount_command(image, largest(mountable), mountable.size() > 1 || locked);
  }
  const bool anything = !image.partitions.empty() || !image.disk.content.empty();
  if (locked || !anything) return "";
  return "latchkey expose " + shell_quoted(image.path) + " DIR";
}

std::string info_text(const Image& image, const UnlockCosts* costs) {
  const std::uint64_t disk_bytes = image.container.disk->size_bytes();
  std::string out =
      fmt::format("{}: {}, {} ({} bytes)\n", engine::printable(image.path),
                  container_name(image.container.format), human_size(disk_bytes), disk_bytes);
  for (const auto& [name, value] : image.container.facts) {
    out += fmt::format("  {:<17} {}\n", name, value);
  }
  add_partitions(out, image);
  for (const Region* region : image.encrypted()) add_volume(out, *region, costs);
  add_logical_volumes(out, image);
  engine::Notices notices = image.notices;
  notices.append(image.logical_notices);
  bool first = true;
  for (const engine::Notice& notice : notices.items()) {
    static constexpr const char* kNames[] = {"note", "warning", "damage"};
    out += fmt::format("{}{}: {}: {}\n", first ? "\n" : "",
                       kNames[static_cast<int>(notice.severity)], notice.where, notice.text);
    first = false;
  }
  const std::string next = next_command(image);
  if (!next.empty()) {
    out += fmt::format("\nnext: {}\n", next);
    if (next.ends_with("--key FILE")) out += what_it_asks_for(image);
  } else if (const std::string advice = what_it_may_be(image); !advice.empty()) {
    out += fmt::format("\nhint: {}\n", advice);
  }
  return out;
}

}  // namespace latchkey::tools
