#include "tools/new_image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/containers/container.h"
#include "engine/containers/vhd_create.h"
#include "engine/file_device.h"
#include "engine/map_device.h"
#include "engine/partitions/gpt_create.h"
#include "engine/unique_fd.h"
#include "keyslots/random.h"
#include "tools/image.h"
#include "tools/new_file.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::time_t kVhdEpoch = 946684800;  // 2000-01-01 00:00 UTC

struct Existing {
  bool there = false;
  bool block_device = false;
  std::uint64_t file_bytes = 0;
};

Result<Existing> look_at(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) {
    if (errno != ENOENT) return Error::system("cannot look at " + path, errno);
    if (lstat(path.c_str(), &about) != 0) return Existing{};
    return Error(ErrorCode::kUsage, path + " is a link to nothing")
        .with_hint("name the file itself, or remove the link");
  }
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode)) {
    return Error(ErrorCode::kUsage, path + " is neither a file nor a block device");
  }
  return Existing{true, S_ISBLK(about.st_mode), static_cast<std::uint64_t>(about.st_size)};
}

std::string describe_region(const Region& region) {
  if (region.volume && region.volume->header) {
    const keyslots::VolumeFacts& facts = region.volume->header->facts();
    return "a " + facts.format + " volume" + (facts.uuid.empty() ? "" : " " + facts.uuid);
  }
  return region.content.empty() ? "" : region.content.type;
}

// ".vhd", in lower case.
std::string extension_of(const std::string& path) {
  std::string end = std::filesystem::path(path).extension().string();
  std::transform(end.begin(), end.end(), end.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return end;
}

engine::NewVhd vhd_of(const NewImageOptions& options, std::uint64_t size) {
  engine::NewVhd vhd;
  vhd.kind = options.container == "vhd" ? engine::VhdKind::kFixed : engine::VhdKind::kDynamic;
  vhd.disk_bytes = size;
  return vhd;
}

Result<void> check_size(const NewImageOptions& options, std::uint64_t size) {
  const bool vhd = options.container != "raw";
  const std::uint64_t sector = options.whole_sectors ? kSectorBytes : 1;
  const std::uint64_t unit = vhd ? kMiB : sector;
  if (size == 0 || size % unit != 0) {
    return Error(ErrorCode::kUsage, fmt::format("--size: {} bytes are not a whole number of {}",
                                                size, vhd ? "MiB" : "512-byte sectors"))
        .with_hint(vhd ? "Azure takes only disks of whole MiB" : "");
  }
  return vhd ? engine::check_new_vhd(vhd_of(options, size)) : Result<void>();
}

// The size of the virtual disk, where it was not given: that of what is there.
Result<std::uint64_t> disk_size(const NewImageOptions& options, const Existing& existing) {
  if (options.size_bytes) return *options.size_bytes;
  if (existing.there && !existing.block_device && existing.file_bytes > 0 &&
      options.container == "raw") {
    return engine::round_down(existing.file_bytes, kSectorBytes);
  }
  return Error(ErrorCode::kUsage, "--size is needed: how large the disk shall be")
      .with_hint("for example --size 10G");
}

Result<std::shared_ptr<engine::FileDevice>> open_writable(const std::string& path) {
  engine::Notices notices;
  return engine::FileDevice::open(path, engine::Access::kReadWrite, notices);
}

// An empty file of its own, or the one that is there with nothing left in it; `bytes` long.
Result<void> make_file(const std::string& path, const Existing& existing, std::uint64_t bytes,
                       bool& made) {
  const bool is_there = existing.there;
  if (existing.file_bytes > 0) {
    // Nobody else may have it open while it is emptied.
    if (auto free = open_writable(path); !free) return std::move(free).error();
  }
  const int flags = O_WRONLY | O_CLOEXEC | (is_there ? O_NONBLOCK : O_CREAT | O_EXCL);
  const engine::UniqueFd fd(open(path.c_str(), flags, 0600));
  if (fd.get() < 0) return Error::system("cannot make " + path, errno);
  made = !is_there;
  if (ftruncate(fd.get(), 0) != 0 || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return Error::system(fmt::format("cannot make {} {} bytes long", path, bytes), errno);
  }
  return {};
}

template <std::size_t N>
Result<void> fill_random_array(std::array<std::byte, N>& bytes) {
  return keyslots::fill_random(bytes);
}

Result<engine::DevicePtr> make_vhd(const NewImageOptions& options, std::uint64_t size) {
  engine::NewVhd vhd = vhd_of(options, size);
  vhd.created_seconds = static_cast<std::uint32_t>(std::time(nullptr) - kVhdEpoch);
  if (auto done = fill_random_array(vhd.uuid); !done) return std::move(done).error();
  auto file = open_writable(options.path);
  if (!file) return std::move(file).error();
  if (auto done = engine::create_vhd(**file, vhd); !done) return std::move(done).error();
  engine::Notices notices;
  auto container = engine::open_container(*file, notices, options.path);
  if (!container) return std::move(container).error().within("the vhd that was just made");
  return container->disk;
}

Result<engine::DevicePtr> make_disk(const NewImageOptions& options, const Existing& existing,
                                    bool& made_file) {
  if (existing.block_device) {
    auto device = open_writable(options.path);
    if (!device) return std::move(device).error();
    return engine::DevicePtr(*device);
  }
  const auto size = disk_size(options, existing);
  if (!size) return size.error();
  const bool raw = options.container == "raw";
  if (auto made = make_file(options.path, existing, raw ? *size : kSectorBytes, made_file); !made) {
    return std::move(made).error();
  }
  if (!raw) return make_vhd(options, *size);
  auto file = open_writable(options.path);
  if (!file) return std::move(file).error();
  return engine::DevicePtr(*file);
}

Result<engine::DevicePtr> make_partition(const engine::DevicePtr& disk) {
  engine::NewGpt gpt;
  if (auto done = fill_random_array(gpt.disk_guid); !done) return std::move(done).error();
  if (auto done = fill_random_array(gpt.partition_guid); !done) return std::move(done).error();
  auto place = engine::write_new_gpt(*disk, gpt);
  if (!place) return std::move(place).error();
  return engine::make_slice(disk, place->offset, place->length);
}

// `image` says whether a file was made, also where this fails.
Result<void> make_parts(const NewImageOptions& options, const Existing& existing, NewImage& image) {
  auto disk = make_disk(options, existing, image.made_file);
  if (!disk) return std::move(disk).error();
  image.disk = std::move(*disk);
  image.place = image.disk;
  if (options.gpt) {
    auto partition = make_partition(image.disk);
    if (!partition) return std::move(partition).error();
    image.place = std::move(*partition);
  }
  return sync_folder_of(options.path);
}

// Of the disk, before there is one.
Result<std::uint64_t> planned_disk_bytes(const NewImageOptions& options, const Existing& existing) {
  if (!existing.block_device) return disk_size(options, existing);
  engine::Notices notices;
  const auto device = engine::FileDevice::open(options.path, engine::Access::kInspect, notices);
  if (!device) return device.error();
  if (options.gpt && (*device)->geometry().sector_bytes != kSectorBytes) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("{} has sectors of {} bytes: only tables for sectors of 512 bytes are "
                             "written",
                             options.path, (*device)->geometry().sector_bytes))
        .with_hint("make the partition with another tool, and format that");
  }
  return (*device)->size_bytes();
}

}  // namespace

Result<std::string> container_of(const std::string& path, const std::string& wish,
                                 const std::string& option) {
  if (!wish.empty()) return wish;
  constexpr std::array kNotMade = {".vhdx", ".vmdk", ".qcow2", ".vdi"};
  const std::string end = extension_of(path);
  if (std::find(kNotMade.begin(), kNotMade.end(), end) == kNotMade.end()) {
    return std::string(end == ".vhd" ? "vhd" : "raw");
  }
  return Error(ErrorCode::kUsage,
               fmt::format("{} is named like a {} file, which is not made", path, end.substr(1)))
      .with_hint(option + " raw, vhd or vhd-dynamic says what is meant");
}

std::string describe_what_is_there(const std::string& path) {
  const auto existing = look_at(path);
  if (!existing || !existing->there) return "";
  if (!existing->block_device && existing->file_bytes == 0) return "";
  SurveyOptions survey;
  survey.access = engine::Access::kInspect;
  const auto image = survey_image(path, survey);
  if (!image) return human_size(existing->file_bytes) + " that cannot be looked into";
  const std::string size = human_size(image->container.disk->size_bytes());
  std::string text;
  if (image->container.format != "raw") text = "a " + image->container.format + " disk, ";
  if (!image->partitions.empty()) {
    text += fmt::format("{} with {} partition{}", size, image->partitions.size(),
                        image->partitions.size() == 1 ? "" : "s");
    for (const Region& region : image->partitions) {
      const std::string what = describe_region(region);
      text +=
          fmt::format("{} {}: {}", region.number == image->partitions.front().number ? ":" : ",",
                      region.name(), what.empty() ? "nothing that is recognised" : what);
    }
    return text;
  }
  const std::string what = describe_region(image->disk);
  return text + (what.empty() ? size + " in which nothing is recognised" : what + ", " + size);
}

Result<std::uint64_t> planned_place_bytes(const NewImageOptions& options) {
  const auto existing = look_at(options.path);
  if (!existing) return existing.error();
  auto disk_bytes = planned_disk_bytes(options, *existing);
  if (!disk_bytes || !options.gpt) return disk_bytes;
  const auto place = engine::plan_new_gpt(*disk_bytes);
  if (!place) return place.error();
  return place->length;
}

Result<void> check_new_image(const NewImageOptions& options) {
  const auto existing = look_at(options.path);
  if (!existing) return existing.error();
  if (existing->block_device) {
    if (options.container != "raw" || options.size_bytes) {
      return Error(ErrorCode::kUsage,
                   options.path + " is a block device: --size and --container are for files");
    }
  } else {
    const auto size = disk_size(options, *existing);
    if (!size) return size.error();
    if (auto fits = check_size(options, *size); !fits) return fits;
  }
  if (auto place = planned_place_bytes(options); !place) return place.error();
  const std::string there = describe_what_is_there(options.path);
  if (there.empty() || options.force) return {};
  return Error(ErrorCode::kRefused, options.path + " holds " + there + ": it is not overwritten")
      .with_hint("--force overwrites it: what it holds is lost then");
}

Result<NewImage> make_new_image(const NewImageOptions& options) {
  if (auto fine = check_new_image(options); !fine) return std::move(fine).error();
  const auto existing = look_at(options.path);
  if (!existing) return existing.error();
  NewImage image;
  if (auto done = make_parts(options, *existing, image); !done) {
    if (image.made_file) unlink(options.path.c_str());
    return std::move(done).error();
  }
  return image;
}

}  // namespace latchkey::tools
