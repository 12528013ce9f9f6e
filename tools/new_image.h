// A new, empty image: its file, its container and, where wanted, one partition over all of it.
//
// A file that is made has mode 0600. Nothing that exists is overwritten unless that was asked for;
// the refusal says what is there. Control plane, one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::tools {

struct NewImageOptions {
  std::string path;  // a file, or a block device
  // Of the virtual disk; of what is there where it is not given.
  std::optional<std::uint64_t> size_bytes;
  std::string container = "raw";  // "raw", "vhd", "vhd-dynamic"
  bool gpt = false;
  bool force = false;         // overwrite
  bool whole_sectors = true;  // of a raw one
};

struct NewImage {
  engine::DevicePtr disk;
  engine::DevicePtr place;  // the partition, or the whole disk
  bool made_file = false;   // there was none before
};

// What `wish` says, or where it is empty the name of the file: "vhd" for one that ends in .vhd,
// else "raw". kUsage for a name that promises what is not made: .vhdx, .vmdk, .qcow2, .vdi;
// `option` is what a wish is given with.
engine::Result<std::string> container_of(const std::string& path, const std::string& wish,
                                         const std::string& option);

// Looks and changes nothing: kRefused where something would be overwritten, kUsage for sizes that
// cannot be, kSystem.
engine::Result<void> check_new_image(const NewImageOptions& options);

// How long the place of the volume will be: the partition's, or the disk's. Changes nothing; the
// same errors.
engine::Result<std::uint64_t> planned_place_bytes(const NewImageOptions& options);

// Makes it. A file that was made, and no other, is removed again on an error.
engine::Result<NewImage> make_new_image(const NewImageOptions& options);

// "an ext4 file system of 10.0 GiB": what `path` holds; empty where there is no such file, or one
// of no bytes.
std::string describe_what_is_there(const std::string& path);

}  // namespace latchkey::tools
