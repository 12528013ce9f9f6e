// A new LUKS volume as the command line asks for it: `format` and `copy --encrypt`. Control plane,
// one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/block_device.h"
#include "engine/result.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/volume_header.h"
#include "tools/new_file.h"
#include "tools/new_key_options.h"

namespace latchkey::tools {

struct NewVolumeOptions {
  bool luks1 = false;
  bool luks2 = false;  // the default
  std::string cipher = "aes-xts-plain64";
  unsigned key_bits = 512;
  std::optional<unsigned> sector_bytes;
  std::string hash = "sha256";
  std::string label;
  std::string uuid;
  std::string header;  // make this file the detached header
  KdfOptions kdf;
};

// All but --header, which is add_new_header_option()'s.
void add_new_volume_options(CLI::App& command, NewVolumeOptions& options);
void add_new_header_option(CLI::App& command, NewVolumeOptions& options);

// What a header takes in front of the payload, or as a file of its own. Bytes.
std::uint64_t header_space_bytes(const NewVolumeOptions& options);

// Everything that can be refused before a byte is written, for a volume that has `place_bytes`;
// measures what the key derivation may cost. Sectors are of 4096 bytes where that loses nothing and
// `large_sectors` allows it, as cryptsetup has it. Errors: kUsage, kNotSupported, kRefused.
engine::Result<keyslots::LuksFormatOptions> plan_new_volume(const NewVolumeOptions& options,
                                                            std::uint64_t place_bytes,
                                                            bool large_sectors);

struct NewVolume {
  keyslots::VolumeSource source;
  keyslots::FormattedVolume formatted;
  keyslots::LuksFormatOptions luks;

  std::uint64_t data_bytes() const;
  // "LUKS2 UUID, aes-xts-plain64, key of 512 bits, sectors of 4096 bytes"
  std::string describe() const;
};

// The file of a detached header, empty; null where the volume has none. It is added to
// `made_files`.
engine::Result<engine::DevicePtr> make_new_header(const NewVolumeOptions& options,
                                                  MadeFiles& made_files);

// Makes it on those devices.
engine::Result<NewVolume> make_new_volume(const NewVolumeOptions& options,
                                          keyslots::LuksFormatOptions luks,
                                          keyslots::VolumeSource source, engine::Bytes secret);

// Its plaintext, writable.
engine::Result<engine::DevicePtr> plaintext_of(const NewVolume& volume);

}  // namespace latchkey::tools
