#include "tools/new_volume.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/file_device.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr const char* kVolumeGroup = "Volume options";

Error wrong_volume(const std::string& what) {
  return {ErrorCode::kUsage, what};
}

// What the command line alone decides.
Result<void> check_volume_options(const NewVolumeOptions& options) {
  if (options.key_bits % 8 != 0) return wrong_volume("--key-size: bits, a multiple of 8");
  if (options.luks1 && (options.sector_bytes.value_or(512) != 512 || !options.label.empty())) {
    return wrong_volume("luks1 has sectors of 512 bytes only, and no label");
  }
  if (!options.header.empty() && access(options.header.c_str(), F_OK) == 0) {
    return Error(ErrorCode::kRefused,
                 "--header: " + options.header + " exists already: it is not overwritten");
  }
  return {};
}

std::uint32_t sector_bytes_for(const NewVolumeOptions& options, std::uint64_t place_bytes,
                               bool large_sectors) {
  if (options.sector_bytes) return *options.sector_bytes;
  return !options.luks1 && large_sectors && place_bytes % 4096 == 0 ? 4096 : 512;
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return text;
}

}  // namespace

void add_new_volume_options(CLI::App& command, NewVolumeOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* what, const char* text) {
    return command.add_option(name, value, what)->type_name(text)->group(kVolumeGroup);
  };
  auto* two =
      command.add_flag("--luks2", options.luks2, "a LUKS2 volume (default)")->group(kVolumeGroup);
  command.add_flag("--luks1", options.luks1, "a LUKS1 volume, for old systems")
      ->group(kVolumeGroup)
      ->excludes(two);
  add("--cipher", options.cipher, "default: aes-xts-plain64", "NAME");
  add("--key-size", options.key_bits, "bits of the cipher's key (default: 512, AES-256 in XTS)",
      "BITS");
  add("--sector-size", options.sector_bytes,
      "512 or 4096 (default: 4096 where the size allows, 512 in LUKS1)", "N");
  add("--hash", options.hash, "default: sha256", "NAME");
  add("--label", options.label, "of the volume, and of the file system that is made in it", "TEXT");
  add("--uuid", options.uuid, "default: a new one", "UUID");
  add_kdf_options(command, options.kdf);
}

void add_new_header_option(CLI::App& command, NewVolumeOptions& options) {
  command
      .add_option("--header", options.header,
                  "make FILE the detached header; the image holds data alone")
      ->type_name("FILE")
      ->group(kVolumeGroup);
}

std::uint64_t header_space_bytes(const NewVolumeOptions& options) {
  return options.luks1 ? keyslots::luks1_header_space_bytes(options.key_bits / 8)
                       : keyslots::kLuks2HeaderSpaceBytes;
}

Result<keyslots::LuksFormatOptions> plan_new_volume(const NewVolumeOptions& options,
                                                    std::uint64_t place_bytes, bool large_sectors) {
  if (auto fine = check_volume_options(options); !fine) return std::move(fine).error();
  auto wish = kdf_wish(options.kdf, options.luks1 ? options.hash : "");
  if (!wish) return std::move(wish).error();
  wish->hash = options.hash;
  keyslots::LuksFormatOptions luks;
  luks.cipher = options.cipher;
  luks.key_bytes = options.key_bits / 8;
  luks.sector_bytes = sector_bytes_for(options, place_bytes, large_sectors);
  luks.hash = options.hash;
  luks.uuid = lower_case(options.uuid);
  luks.label = options.label;
  luks.detached = !options.header.empty();
  // What costs no measuring is looked at first.
  luks.kdf.type = "pbkdf2";
  luks.kdf.hash = options.hash;
  luks.kdf.iterations = keyslots::kMinPbkdf2Iterations;
  const std::uint64_t header_bytes = luks.detached ? header_space_bytes(options) : place_bytes;
  const auto check = options.luks1 ? keyslots::check_luks1_format : keyslots::check_luks2_format;
  if (auto fine = check(header_bytes, luks); !fine) return std::move(fine).error();
  if (luks.detached && place_bytes < luks.sector_bytes) {
    return wrong_volume("there is no room for data");
  }
  auto cost = keyslots::choose_kdf_cost(*wish, luks.key_bytes);
  if (!cost) return std::move(cost).error();
  luks.kdf = std::move(*cost);
  if (wish->iterations) luks.digest_seconds = 0;  // as cryptsetup has it: nothing is measured
  if (auto fine = check(header_bytes, luks); !fine) return std::move(fine).error();
  return luks;
}

std::uint64_t NewVolume::data_bytes() const {
  return engine::round_down(source.data->size_bytes() - formatted.payload_offset,
                            luks.sector_bytes);
}

std::string NewVolume::describe() const {
  return fmt::format("{}, {}, key of {} bits, sectors of {} bytes", formatted.uuid, luks.cipher,
                     luks.key_bytes * 8, luks.sector_bytes);
}

Result<engine::DevicePtr> make_new_header(const NewVolumeOptions& options, MadeFiles& made_files) {
  if (options.header.empty()) return engine::DevicePtr();
  const std::vector<std::byte> empty(header_space_bytes(options));
  if (auto made = write_new_file(options.header, empty); !made) {
    return std::move(made).error().within("--header");
  }
  made_files.add(options.header);
  engine::Notices notices;
  auto file = engine::FileDevice::open(options.header, engine::Access::kReadWrite, notices);
  if (!file) return std::move(file).error().within("--header");
  return engine::DevicePtr(*file);
}

Result<NewVolume> make_new_volume(const NewVolumeOptions& options, keyslots::LuksFormatOptions luks,
                                  keyslots::VolumeSource source, engine::Bytes secret) {
  NewVolume made{std::move(source), {}, std::move(luks)};
  engine::BlockDevice& device = *made.source.header_device();
  auto formatted = options.luks1 ? keyslots::format_luks1(device, made.luks, secret)
                                 : keyslots::format_luks2(device, made.luks, secret);
  if (!formatted) return std::move(formatted).error();
  made.formatted = std::move(*formatted);
  return made;
}

Result<engine::DevicePtr> plaintext_of(const NewVolume& volume) {
  engine::Notices notices;
  auto header = keyslots::probe_volume(volume.source, notices);
  if (!header) return std::move(header).error();
  std::vector<engine::SecretBytes> keys;
  keys.push_back(engine::SecretBytes::copy_of(volume.formatted.volume_key.span()));
  auto unlocked = (*header)->layout(std::move(keys));
  if (!unlocked) return std::move(unlocked).error();
  return keyslots::plaintext_of(volume.source, std::move(*unlocked), true);
}

}  // namespace latchkey::tools
