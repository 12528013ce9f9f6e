#include "tools/same_storage.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr int kMostLayers = 8;  // of loop devices over files

void add_storages(const std::string& path, int layers, std::vector<std::string>& out);

// The disk a device is, or is a partition of; and what a loop device has below it.
void add_block_device(dev_t device, int layers, std::vector<std::string>& out) {
  std::error_code failed;
  std::filesystem::path folder = std::filesystem::canonical(
      fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)), failed);
  if (failed) {
    out.push_back(fmt::format("device {}:{}", major(device), minor(device)));
    return;
  }
  if (std::filesystem::exists(folder / "partition", failed)) folder = folder.parent_path();
  out.push_back("disk " + folder.string());
  std::ifstream backing(folder / "loop" / "backing_file");
  std::string file;
  if (std::getline(backing, file)) add_storages(file, layers + 1, out);
}

void add_storages(const std::string& path, int layers, std::vector<std::string>& out) {
  struct stat about {};
  if (layers > kMostLayers || stat(path.c_str(), &about) != 0) return;
  if (S_ISBLK(about.st_mode)) return add_block_device(about.st_rdev, layers, out);
  out.push_back(fmt::format("file {}:{}", about.st_dev, about.st_ino));
}

bool is_nothing(const std::string& name) {
  return name.empty() || name == "-";
}

}  // namespace

bool same_storage(const std::string& one, const std::string& other) {
  std::error_code failed;
  const auto place = [&](const std::string& name) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(name, failed), failed);
  };
  if (one == other || (place(one) == place(other) && !failed)) return true;
  std::vector<std::string> ones, others;
  add_storages(one, 0, ones);
  add_storages(other, 0, others);
  return std::any_of(ones.begin(), ones.end(), [&](const std::string& storage) {
    return std::find(others.begin(), others.end(), storage) != others.end();
  });
}

Result<void> check_apart(const std::vector<std::string>& written,
                         const std::vector<std::string>& read) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (is_nothing(written[i])) continue;
    for (const std::string& name : read) {
      if (is_nothing(name) || !same_storage(written[i], name)) continue;
      return Error(ErrorCode::kRefused,
                   fmt::format("{} and {} are the same storage: one is read, the other would be "
                               "written",
                               name, written[i]));
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (is_nothing(written[k]) || !same_storage(written[k], written[i])) continue;
      return Error(ErrorCode::kUsage, written[i] + " is named for two things");
    }
  }
  return {};
}

}  // namespace latchkey::tools
