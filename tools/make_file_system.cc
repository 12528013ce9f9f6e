#include "tools/make_file_system.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "frontends/fuse/export_directory.h"
#include "tools/helper_program.h"

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
};

const std::array<Maker, 8>& makers() {
  static const std::array<Maker, 8> all{{
      {"ext2", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L"},
      {"ext3", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L"},
      {"ext4", "e2fsprogs", {"-q", "-F", "-E", "nodiscard"}, "-L"},
      {"xfs", "xfsprogs", {"-q", "-f", "-K"}, "-L"},
      {"btrfs", "btrfs-progs", {"-q", "-f", "-K"}, "-L"},
      {"vfat", "dosfstools", {}, "-n"},
      {"exfat", "exfatprogs", {}, "-L"},
      {"ntfs", "ntfs-3g", {"-q", "-F", "-Q"}, "-L"},
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

Result<void> run_maker(const Maker& maker, const std::string& file, const std::string& label) {
  std::vector<std::string> argv{std::string("mkfs.") + maker.kind};
  argv.insert(argv.end(), maker.options.begin(), maker.options.end());
  if (!label.empty()) argv.insert(argv.end(), {maker.label, label});
  argv.push_back(file);
  auto outcome = run_helper(argv, maker.package);
  if (!outcome) return std::move(outcome).error();
  if (outcome->exit_status == 0) return {};
  return Error(ErrorCode::kSystem, fmt::format("mkfs.{} failed with status {}: {}", maker.kind,
                                               outcome->exit_status, outcome->said));
}

}  // namespace

std::vector<std::string> file_system_kinds() {
  std::vector<std::string> kinds;
  for (const Maker& maker : makers()) kinds.emplace_back(maker.kind);
  return kinds;
}

Result<void> make_file_system(const engine::DevicePtr& device, const std::string& kind,
                              const std::string& label) {
  const Maker* maker = find_maker(kind);
  if (maker == nullptr) {
    return Error(ErrorCode::kUsage, "--mkfs: '" + kind + "' is not a file system that can be made");
  }
  const MountFolder folder;
  if (!folder.made()) return Error::system("cannot make a temporary folder", errno);
  frontends::ExportList exports;
  exports.exports.push_back({"volume", "a new volume", device});
  auto mounted = frontends::ExportDirectory::mount(folder.path(), std::move(exports), {});
  if (!mounted) return std::move(mounted).error().within("--mkfs");
  auto made = run_maker(*maker, folder.path() + "/volume", label);
  auto closed = (*mounted)->close();
  return made ? closed : made;
}

}  // namespace latchkey::tools
