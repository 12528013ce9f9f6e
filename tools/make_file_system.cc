#include "tools/make_file_system.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "frontends/fuse/export_directory.h"
#include "tools/exit_status.h"
#include "tools/helper_program.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct Maker {
  const char* kind;
  const char* package;
  // Overwrite, say little, do not discard first: that would write the whole device.
  std::vector<const char*> options;
  const char* label;
  std::size_t most_label_bytes;
  // How it is told the sector size; with {} for the number.
  std::vector<const char*> sectors;
};

constexpr std::uint32_t kUsualSectorBytes = 512;

const std::array<Maker, 8>& makers() {
  static const std::array<Maker, 8> all{{
      {"ext2", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L", 16, {"-b", "4096"}},
      {"ext3", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L", 16, {"-b", "4096"}},
      {"ext4", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L", 16, {"-b", "4096"}},
      {"xfs", "xfsprogs", {"-q", "-f", "-K"}, "-L", 12, {"-s", "size={}"}},
      // Its blocks are pages.
      {"btrfs", "btrfs-progs", {"-q", "-f", "-K"}, "-L", 255, {"-s", "4096"}},
      {"vfat", "dosfstools", {}, "-n", 11, {"-S", "{}"}},
      {"exfat", "exfatprogs", {}, "-L", 11, {}},
      {"ntfs", "ntfs-3g", {"-q", "-F", "-Q"}, "-L", 128, {"-s", "{}"}},
  }};
  return all;
}

const Maker* find_maker(const std::string& kind) {
  for (const Maker& maker : makers()) {
    if (kind == maker.kind) return &maker;
  }
  return nullptr;
}

// A folder of its own that is gone when nothing is mounted on it any more.
class MountFolder {
 public:
  MountFolder() : path_((std::filesystem::temp_directory_path() / "latchkey-XXXXXX").string()) {
    made_ = mkdtemp(path_.data()) != nullptr;
  }
  ~MountFolder() {
    if (made_) (void)rmdir(path_.c_str());
  }
  MountFolder(const MountFolder&) = delete;
  MountFolder& operator=(const MountFolder&) = delete;
  bool made() const { return made_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

Result<void> run_maker(const Maker& maker, const std::string& file, const std::string& label,
                       std::uint32_t sector_bytes) {
  std::vector<std::string> argv{std::string("mkfs.") + maker.kind};
  argv.insert(argv.end(), maker.options.begin(), maker.options.end());
  if (!label.empty()) argv.insert(argv.end(), {maker.label, label});
  if (sector_bytes != kUsualSectorBytes) {
    for (const char* option : maker.sectors) {
      argv.push_back(fmt::format(fmt::runtime(option), sector_bytes));
    }
  }
  argv.push_back(file);
  auto outcome = run_helper(argv, maker.package);
  if (!outcome) return std::move(outcome).error();
  if (outcome->exit_status == 0) return {};
  return Error(ErrorCode::kSystem, fmt::format("mkfs.{} failed with status {}: {}", maker.kind,
                                               outcome->exit_status, outcome->said));
}

Result<void> make_mounted(const engine::DevicePtr& device, const Maker& maker,
                          const std::string& label, std::uint32_t sector_bytes) {
  const MountFolder folder;
  if (!folder.made()) return Error::system("cannot make a temporary folder", errno);
  frontends::ExportList exports;
  exports.exports.push_back({"volume", "a new volume", device});
  auto mounted = frontends::ExportDirectory::mount(folder.path(), std::move(exports), {});
  if (!mounted) return std::move(mounted).error().within("--mkfs");
  auto made = run_maker(maker, folder.path() + "/volume", label, sector_bytes);
  auto closed = (*mounted)->close();
  return made ? closed : made;
}

}  // namespace

Result<void> check_file_system(const std::string& kind, const std::string& label,
                               std::uint32_t sector_bytes) {
  const Maker* maker = find_maker(kind);
  if (maker == nullptr) {
    return Error(ErrorCode::kUsage, "--mkfs: '" + kind + "' is not a file system that can be made");
  }
  if (label.size() > maker->most_label_bytes) {
    return Error(ErrorCode::kUsage, fmt::format("--label: {} bytes, but that of {} has {} at most",
                                                label.size(), kind, maker->most_label_bytes));
  }
  if (sector_bytes != kUsualSectorBytes && maker->sectors.empty()) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("--mkfs: {} is made in sectors of 512 bytes only", kind))
        .with_hint("--sector-size 512");
  }
  auto installed = check_helper(std::string("mkfs.") + maker->kind, maker->package);
  return installed ? installed : std::move(installed).error().within("--mkfs");
}

Result<void> make_file_system(const engine::DevicePtr& device, const std::string& kind,
                              const std::string& label, std::uint32_t sector_bytes) {
  if (auto fine = check_file_system(kind, label, sector_bytes); !fine) return fine;
  // Control-C ends mkfs, and us once nothing is mounted any more.
  auto signals = StopSignals::arm();
  if (!signals) return std::move(signals).error();
  auto made = make_mounted(device, *find_maker(kind), label, sector_bytes);
  if (const int signal = signals->take(); signal != 0) {
    warn("stopped: the volume was made, the file system in it was not");
    StopSignals::die_of(signal);
  }
  return made;
}

}  // namespace latchkey::tools
