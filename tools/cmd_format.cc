// latchkey format: a new encrypted image, as cryptsetup would make it.
#include <cctype>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/file_device.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/volume_header.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/make_file_system.h"
#include "tools/new_file.h"
#include "tools/new_image.h"
#include "tools/new_key_options.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct FormatOptions {
  NewImageOptions image;
  std::string size;
  std::string partition = "none";
  bool luks1 = false;
  bool luks2 = false;
  std::string cipher = "aes-xts-plain64";
  unsigned key_bits = 512;
  std::optional<unsigned> sector_bytes;
  std::string hash = "sha256";
  std::string label;
  std::string uuid;
  std::string header;
  std::string mkfs;
  NewKeyOptions key;
  KdfOptions kdf;
};

Error usage(const std::string& what) {
  return {ErrorCode::kUsage, what};
}

// What the command line alone decides.
Result<void> complete(FormatOptions& options) {
  if (!options.size.empty()) {
    options.image.size_bytes = parse_size(options.size);
    if (!options.image.size_bytes) {
      return usage("--size: '" + options.size + "' is not a size").with_hint("write it like 10G");
    }
  }
  options.image.gpt = options.partition == "gpt";
  if (options.key_bits % 8 != 0) return usage("--key-size: bits, a multiple of 8");
  if (options.luks1 && (options.sector_bytes.value_or(512) != 512 || !options.label.empty())) {
    return usage("luks1 has sectors of 512 bytes only, and no label");
  }
  for (char& c : options.uuid) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (!options.header.empty() && access(options.header.c_str(), F_OK) == 0) {
    return Error(ErrorCode::kRefused, "--header: " + options.header +
                                          " exists already: it is not "
                                          "overwritten");
  }
  return {};
}

std::uint64_t header_space(const FormatOptions& options) {
  return options.luks1 ? keyslots::luks1_header_space_bytes(options.key_bits / 8)
                       : keyslots::kLuks2HeaderSpaceBytes;
}

// As cryptsetup does: 4096 where nothing of the data is lost by it. mkfs.exfat would write less.
std::uint32_t sector_bytes_for(const FormatOptions& options, std::uint64_t place_bytes) {
  if (options.sector_bytes) return *options.sector_bytes;
  const bool large = !options.luks1 && options.mkfs != "exfat" && place_bytes % 4096 == 0;
  return large ? 4096 : 512;
}

keyslots::LuksFormatOptions luks_options(const FormatOptions& options, std::uint64_t place_bytes,
                                         const keyslots::KdfSpec& cost) {
  keyslots::LuksFormatOptions luks;
  luks.cipher = options.cipher;
  luks.key_bytes = options.key_bits / 8;
  luks.sector_bytes = sector_bytes_for(options, place_bytes);
  luks.hash = options.hash;
  luks.uuid = options.uuid;
  luks.label = options.label;
  luks.kdf = cost;
  luks.detached = !options.header.empty();
  return luks;
}

// Everything that can be refused before a byte is written or a key file made.
Result<keyslots::LuksFormatOptions> check(const FormatOptions& options) {
  if (auto fine = check_new_image(options.image); !fine) return std::move(fine).error();
  const auto place_bytes = planned_place_bytes(options.image);
  if (!place_bytes) return place_bytes.error();
  auto wish = kdf_wish(options.kdf, options.luks1 ? options.hash : "");
  if (!wish) return std::move(wish).error();
  wish->hash = options.hash;
  // What costs no measuring is looked at first.
  keyslots::KdfSpec cheap;
  cheap.type = "pbkdf2";
  cheap.hash = options.hash;
  cheap.iterations = keyslots::kMinPbkdf2Iterations;
  keyslots::LuksFormatOptions luks = luks_options(options, *place_bytes, cheap);
  const std::uint64_t header_bytes = luks.detached ? header_space(options) : *place_bytes;
  const auto check_luks =
      options.luks1 ? keyslots::check_luks1_format : keyslots::check_luks2_format;
  if (auto fine = check_luks(header_bytes, luks); !fine) return std::move(fine).error();
  if (luks.detached && *place_bytes < luks.sector_bytes) return usage("there is no room for data");
  if (!options.mkfs.empty()) {
    auto fine = check_file_system(options.mkfs, options.label, luks.sector_bytes);
    if (!fine) return std::move(fine).error();
  }
  auto cost = keyslots::choose_kdf_cost(*wish, luks.key_bytes);
  if (!cost) return std::move(cost).error();
  luks.kdf = std::move(*cost);
  if (auto fine = check_luks(header_bytes, luks); !fine) return std::move(fine).error();
  return luks;
}

Result<engine::DevicePtr> make_header_file(const FormatOptions& options) {
  const std::vector<std::byte> empty(header_space(options));
  if (auto made = write_new_file(options.header, empty); !made) {
    return std::move(made).error().within("--header");
  }
  engine::Notices notices;
  auto file = engine::FileDevice::open(options.header, engine::Access::kReadWrite, notices);
  if (!file) {
    unlink(options.header.c_str());
    return std::move(file).error().within("--header");
  }
  return engine::DevicePtr(*file);
}

struct Made {
  keyslots::VolumeSource source;
  keyslots::FormattedVolume volume;
  keyslots::LuksFormatOptions luks;
};

Result<Made> make_volume(const FormatOptions& options, const NewImage& image,
                         engine::DevicePtr header, keyslots::LuksFormatOptions luks,
                         engine::Bytes secret) {
  Made made;
  made.source.data = image.place;
  made.source.header = std::move(header);
  made.luks = std::move(luks);
  engine::BlockDevice& device = *made.source.header_device();
  auto volume = options.luks1 ? keyslots::format_luks1(device, made.luks, secret)
                              : keyslots::format_luks2(device, made.luks, secret);
  if (!volume) return std::move(volume).error();
  made.volume = std::move(*volume);
  return made;
}

Result<engine::DevicePtr> plaintext_of(const Made& made) {
  engine::Notices notices;
  auto header = keyslots::probe_volume(made.source, notices);
  if (!header) return std::move(header).error();
  std::vector<engine::SecretBytes> keys;
  keys.push_back(engine::SecretBytes::copy_of(made.volume.volume_key.span()));
  auto volume = (*header)->layout(std::move(keys));
  if (!volume) return std::move(volume).error();
  return keyslots::plaintext_of(made.source, std::move(*volume), true);
}

void say(const FormatOptions& options, const Made& made) {
  const std::uint64_t data_bytes = made.source.data->size_bytes() - made.volume.payload_offset;
  fmt::print("{}: {} {}, {}, key of {} bits, sectors of {} bytes, {} for data\n",
             options.image.path, options.luks1 ? "LUKS1" : "LUKS2", made.volume.uuid,
             made.luks.cipher, made.luks.key_bytes * 8, made.luks.sector_bytes,
             human_size(engine::round_down(data_bytes, made.luks.sector_bytes)));
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
  engine::DevicePtr header;
  if (luks->detached) {
    auto made = make_header_file(options);
    if (!made) return std::move(made).error();
    made_files.add(options.header);
    header = std::move(*made);
  }
  auto image = make_new_image(options.image);
  if (!image) return std::move(image).error();
  if (image->made_file) made_files.add(options.image.path);
  auto made = make_volume(options, *image, header, std::move(*luks), secret->bytes.span());
  if (!made) return std::move(made).error();
  made_files.keep();
  if (!options.mkfs.empty()) {
    auto plaintext = plaintext_of(*made);
    if (!plaintext) return std::move(plaintext).error();
    auto done = make_file_system(*plaintext, options.mkfs, options.label, made->luks.sector_bytes);
    if (!done) {
      return std::move(done).error().within("the volume was made, its file system was not");
    }
  }
  say(options, *made);
  return {};
}

void add_volume_options(CLI::App& command, FormatOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* what, const char* text) {
    return command.add_option(name, value, what)->type_name(text)->group("Volume options");
  };
  auto* two = command.add_flag("--luks2", options.luks2, "a LUKS2 volume (default)")
                  ->group("Volume options");
  command.add_flag("--luks1", options.luks1, "a LUKS1 volume, for old systems")
      ->group("Volume options")
      ->excludes(two);
  add("--cipher", options.cipher, "default: aes-xts-plain64", "NAME");
  add("--key-size", options.key_bits, "bits of the cipher's key (default: 512, AES-256 in XTS)",
      "BITS");
  add("--sector-size", options.sector_bytes,
      "512 or 4096 (default: 4096 where the size allows, 512 in LUKS1)", "N");
  add("--hash", options.hash, "default: sha256", "NAME");
  add("--label", options.label, "of the volume and its file system", "TEXT");
  add("--uuid", options.uuid, "default: a new one", "UUID");
  add("--header", options.header, "make FILE the detached header; the image holds data alone",
      "FILE");
  add("--mkfs", options.mkfs, "make a file system in it: ext4, xfs, btrfs, vfat, ...", "KIND");
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
      ->add_option("--container", options->image.container,
                   "raw (default), vhd (fixed: for Azure) or vhd-dynamic")
      ->type_name("KIND")
      ->check(CLI::IsMember({"raw", "vhd", "vhd-dynamic"}));
  command->add_option("--partition", options->partition, "gpt, or none (default)")
      ->type_name("KIND")
      ->check(CLI::IsMember({"gpt", "none"}));
  command->add_flag("--force", options->image.force, "overwrite what is there");
  add_volume_options(*command, *options);
  add_new_key_options(*command, options->key, "--");
  add_kdf_options(*command, options->kdf);
  command->footer(
      "Examples:\n"
      "  latchkey format disk.vhd --size 30G --container vhd --partition gpt --mkfs ext4\n"
      "  latchkey format data.img --size 1T --generate-key data.key --label archive");
  command->callback([options, &exit_status] { exit_status = status_of(format(*options)); });
}

}  // namespace latchkey::tools
