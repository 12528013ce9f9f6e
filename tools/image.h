// From the name of a file to devices: source -> container -> partitions -> volumes -> plaintext ->
// exports. Every command starts here.
//
//   survey_image()   needs no key: what is in the image
//   unlock_image()   tries the keys on its volumes
//   make_exports()   the devices a front end presents
//
// One thread opens; the devices that come out are thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/containers/container.h"
#include "engine/file_device.h"
#include "engine/lvm/volume_groups.h"
#include "engine/notices.h"
#include "engine/partitions/partition_table.h"
#include "engine/result.h"
#include "engine/signatures.h"
#include "frontends/export.h"
#include "keyslots/unlock.h"
#include "keyslots/volume_header.h"

namespace latchkey::tools {

// A detached header that was found in the image itself, without --header: Azure keeps that of an
// encrypted root partition as a file on the clear /boot beside it.
struct LiftedHeader {
  unsigned partition = 0;  // where it was found
  std::string path;        // "luks/osluksheader"

  std::string describe() const { return path + " on p" + std::to_string(partition); }
};

// An encrypted volume in the image: the whole disk, or one partition.
struct FoundVolume {
  keyslots::VolumeSource source;
  std::unique_ptr<keyslots::VolumeHeader> header;  // null: `error` says why it cannot be used
  std::optional<engine::Error> error;              // why it is not open; set until it is
  engine::DevicePtr plaintext;                     // set once it is open
  std::string opened_by;
  std::string read_only_reason;
  // The header is `lifted`, and that it belongs to this partition is a guess. What it opens has to
  // make sense, or the volume stays closed.
  std::optional<LiftedHeader> lifted = std::nullopt;

  bool open() const noexcept { return plaintext != nullptr; }
};

// A partition, or (number 0) the whole disk.
struct Region {
  unsigned number = 0;
  engine::Partition entry;  // empty for the whole disk
  engine::DevicePtr device;
  engine::ContentSignature content;  // of `device` as it lies on the disk
  std::optional<FoundVolume> volume;

  bool is_efi_system_partition() const {
    return entry.type == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" || entry.type == "0xef";
  }
  std::string name() const { return number == 0 ? "disk" : "p" + std::to_string(number); }
  // The plaintext where there is one, else what lies on the disk.
  const engine::DevicePtr& view() const {
    return volume && volume->open() ? volume->plaintext : device;
  }
};

// A logical volume of LVM, on partitions as they lie on the disk or inside unlocked volumes.
struct FoundLogicalVolume {
  std::string name;   // "rootvg/rootlv": its export's, and what --volume takes
  std::string group;  // "rootvg"
  engine::LogicalVolume volume;
  engine::ContentSignature content;
  std::vector<std::string> on;  // names of the regions its group lies on
};

struct Image {
  std::string path;
  std::string header_path;          // as given with --header, else empty
  engine::DevicePtr header_device;  // what that names; else null
  std::uint64_t file_bytes = 0;
  engine::Container container;
  engine::PartitionTable table;
  Region disk;  // may hold the volume when there is no partition table
  std::vector<Region> partitions;
  engine::Notices notices;
  // Of what can be seen now: unlock_image() may add to both. By name.
  std::vector<FoundLogicalVolume> logical_volumes;
  engine::Notices logical_notices;

  // Every region with an encrypted volume, in order.
  std::vector<Region*> encrypted();
  std::vector<const Region*> encrypted() const;
};

struct SurveyOptions {
  engine::Access access = engine::Access::kReadOnly;
  std::string header_path;            // a detached header
  bool write_header = false;          // it is what will be written
  std::optional<unsigned> partition;  // the one that is meant, where the user said so
  bool any_header = false;            // there need not be one in it
};

engine::Result<Image> survey_image(const std::string& path, const SurveyOptions& options);

// Tries the ring on every volume (or only on `only_partition`'s). A volume that stays locked keeps
// its error; the result says how many are open now.
std::size_t unlock_image(Image& image, const keyslots::KeyRing& ring,
                         const keyslots::UnlockOptions& options,
                         std::optional<unsigned> only_partition);

// What a person can type to open one of these volumes: "passphrase", "recovery password",
// "passphrase or recovery password"; empty where nothing that is typed would.
std::string what_can_be_typed(const std::vector<const Region*>& encrypted);

// `disk`, then p1, p2, ... in order, then the logical volumes as VG/LV. The default is `preferred`,
// else the one unlocked volume where there is exactly one, else `disk`.
frontends::ExportList make_exports(const Image& image, std::optional<unsigned> preferred);

}  // namespace latchkey::tools
