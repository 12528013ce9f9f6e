// latchkey format: a new encrypted image, as cryptsetup would make it.
#include <memory>
#include <string>

#include <fmt/format.h>

#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/make_file_system.h"
#include "tools/new_file.h"
#include "tools/new_image.h"
#include "tools/new_key_options.h"
#include "tools/new_volume.h"
#include "tools/open_image.h"
#include "tools/same_storage.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct FormatOptions {
  NewImageOptions image;
  NewVolumeOptions volume;
  NewKeyOptions key;
  std::string size;
  std::string container;  // empty: by FILE's name
  std::string partition = "none";
  std::string mkfs;
};

Result<void> complete(FormatOptions& options) {
  if (!options.size.empty()) {
    options.image.size_bytes = parse_size(options.size);
    if (!options.image.size_bytes) {
      return Error(ErrorCode::kUsage, "--size: '" + options.size + "' is not a size")
          .with_hint("write it like 10G");
    }
  }
  options.image.gpt = options.partition == "gpt";
  auto container = container_of(options.image.path, options.container, "--container");
  if (!container) return std::move(container).error();
  options.image.container = std::move(*container);
  return check_apart({options.image.path, options.volume.header, options.key.generated},
                     {options.key.key_file, options.key.passphrase_file});
}

// Everything that can be refused before a byte is written or a key file made.
Result<keyslots::LuksFormatOptions> check(const FormatOptions& options) {
  if (auto fine = check_new_image(options.image); !fine) return std::move(fine).error();
  const auto place_bytes = planned_place_bytes(options.image);
  if (!place_bytes) return place_bytes.error();
  // mkfs.exfat would write less than a sector of 4096 bytes.
  auto luks = plan_new_volume(options.volume, *place_bytes, options.mkfs != "exfat");
  if (!luks || options.mkfs.empty()) return luks;
  auto fine = check_file_system(options.mkfs, options.volume.label, luks->sector_bytes);
  if (!fine) return std::move(fine).error();
  return luks;
}

void say(const FormatOptions& options, const NewVolume& made) {
  fmt::print("{}: {} {}, {} for data\n", options.image.path,
             options.volume.luks1 ? "LUKS1" : "LUKS2", made.describe(),
             human_size(made.data_bytes()));
  fmt::print("keyslot 0: {}\n", made.luks.kdf.describe());
}

Result<void> format(FormatOptions options) {
  if (auto done = complete(options); !done) return done;
  auto luks = check(options);
  if (!luks) return std::move(luks).error();
  MadeFiles made_files;
  const auto secret = read_new_key(options.key, "--", options.image.path);
  if (!secret) return secret.error();
  if (!options.key.generated.empty()) made_files.add(options.key.generated);
  auto header = make_new_header(options.volume, made_files);
  if (!header) return std::move(header).error();
  auto image = make_new_image(options.image);
  if (!image) return std::move(image).error();
  if (image->made_file) made_files.add(options.image.path);
  auto made = make_new_volume(options.volume, std::move(*luks), {image->place, std::move(*header)},
                              secret->bytes.span());
  if (!made) return std::move(made).error();
  made_files.keep();
  if (!options.mkfs.empty()) {
    auto plaintext = plaintext_of(*made);
    if (!plaintext) return std::move(plaintext).error();
    auto done =
        make_file_system(*plaintext, options.mkfs, options.volume.label, made->luks.sector_bytes);
    if (!done) {
      return std::move(done).error().within("the volume was made, its file system was not");
    }
  }
  say(options, *made);
  return {};
}

}  // namespace

void add_format_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<FormatOptions>();
  CLI::App* command = app.add_subcommand("format", "make a new encrypted image, raw or VHD");
  command->add_option("FILE", options->image.path, "the image to make, or a block device")
      ->required()
      ->type_name("");
  command->add_option("--size", options->size, "of the disk, like 10G; header included")
      ->type_name("SIZE");
  command
      ->add_option("--container", options->container,
                   "raw, vhd (fixed: for Azure) or vhd-dynamic (default: by FILE's name)")
      ->type_name("KIND")
      ->check(CLI::IsMember({"raw", "vhd", "vhd-dynamic"}));
  command->add_option("--partition", options->partition, "gpt, or none (default)")
      ->type_name("KIND")
      ->check(CLI::IsMember({"gpt", "none"}));
  command->add_flag("--force", options->image.force, "overwrite what is there");
  add_cipher_variant_option(*command);
  add_new_volume_options(*command, options->volume);
  add_new_header_option(*command, options->volume);
  command
      ->add_option("--mkfs", options->mkfs, "make a file system in it: ext4, xfs, btrfs, vfat, ...")
      ->type_name("KIND")
      ->group("Volume options");
  add_new_key_options(*command, options->key, "--");
  command->footer(
      "Examples:\n"
      "  latchkey format disk.vhd --size 30G --container vhd --partition gpt --mkfs ext4\n"
      "  latchkey format data.img --size 1T --generate-key data.key --label archive");
  command->callback([options, &exit_status] { exit_status = status_of(format(*options)); });
}

}  // namespace latchkey::tools
