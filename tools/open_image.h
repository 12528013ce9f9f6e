// What serve, expose and mount share: the options that say which image to open and how, and the way
// from there to exports, with every message on the way.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/result.h"
#include "frontends/export.h"
#include "tools/image.h"
#include "tools/key_options.h"

namespace latchkey::tools {

struct OpenOptions {
  std::string image;
  bool read_write = false;
  bool locked = false;     // present ciphertext where no key fits
  bool shows_disk = true;  // everything in the image is presented, also what stays locked
  std::optional<unsigned> partition;  // only this one has to open, and it becomes the default
  KeyOptions keys;
};

// IMAGE, --read-write, --cipher-variant and the key options; --partition and --locked where the
// command has them.
void add_open_options(CLI::App& command, OpenOptions& options);
void add_partition_option(CLI::App& command, OpenOptions& options);
void add_locked_option(CLI::App& command, OpenOptions& options);
// --cipher-variant, which add_open_options() has already: takes effect while options are parsed,
// for the whole process.
void add_cipher_variant_option(CLI::App& command);

struct OpenedImage {
  Image image;
  frontends::ExportList exports;
};

// Surveys, reads the secrets or asks for them (three tries on a terminal), unlocks. Prints warnings
// and the volumes that stay locked on stderr. Reads secrets: call it after any fork.
engine::Result<OpenedImage> open_image(const OpenOptions& options);

}  // namespace latchkey::tools
