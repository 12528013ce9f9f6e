#include "tools/mount_point.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// The mount table writes space, tab, newline and backslash as \ooo.
std::string unescape(const std::string& field) {
  std::string out;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const auto digit = [&](std::size_t at) { return field[at] >= '0' && field[at] <= '7'; };
    if (field[i] == '\\' && i + 3 < field.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      const int value = (field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0');
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

std::string resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? real.get() : path;
}

Error unusable(const std::string& directory, const std::string& why) {
  return {ErrorCode::kUsage, fmt::format("mount point {}: {}", directory, why)};
}

Error cannot_look(const std::string& directory, int reason) {
  if (reason == ENOENT) {
    return unusable(directory, "does not exist").with_hint("mkdir " + directory);
  }
  if (reason == ENOTCONN) {
    return Error(ErrorCode::kSystem,
                 fmt::format("mount point {}: a mount whose server has died is in the way",
                             directory))
        .with_hint("latchkey umount " + directory);
  }
  return Error::system("mount point " + directory, reason);
}

}  // namespace

std::string absolute_directory(const std::string& directory) {
  std::error_code failed;
  std::filesystem::path path = std::filesystem::absolute(directory, failed);
  if (failed) return directory;
  path = path.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "dir/"
  const std::string last = path.filename();
  if (last.empty() || last == ".." || std::filesystem::is_symlink(path, failed)) {
    return resolved(path);
  }
  const std::string parent = resolved(path.parent_path());
  return parent == "/" ? parent + last : parent + "/" + last;
}

std::optional<std::string> mounted_type(const std::string& directory) {
  std::ifstream table("/proc/self/mountinfo");
  std::optional<std::string> type;
  // proc(5): id, parent, major:minor, root, mount point, options, optional fields, "-", type, ...
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string skipped;
    std::string point;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    if (unescape(point) != directory) continue;
    while (fields >> skipped && skipped != "-") {
    }
    std::string found;
    if (fields >> found) type = found;  // later lines lie on top of earlier ones
  }
  return type;
}

Result<std::string> check_mount_point(const std::string& directory) {
  struct stat about {};
  if (stat(directory.c_str(), &about) != 0) return cannot_look(directory, errno);
  if (!S_ISDIR(about.st_mode)) {
    return unusable(directory, "is not a directory").with_hint("name an empty directory");
  }
  std::string path = resolved(directory);
  if (mounted_type(path)) {
    return unusable(directory, "something is already mounted there")
        .with_hint("latchkey umount " + directory + ", or use another directory");
  }
  std::error_code failed;
  const bool empty = std::filesystem::is_empty(path, failed);
  if (failed) return Error::system("mount point " + directory, failed.value());
  if (!empty) {
    return unusable(directory, "is not empty")
        .with_hint("use an empty directory: a mount hides what is below it");
  }
  // What fusermount3 asks of an ordinary user's mount point.
  const bool sticky = (about.st_mode & S_ISVTX) != 0 && about.st_uid != geteuid();
  if (geteuid() != 0 && (access(path.c_str(), W_OK) != 0 || sticky)) {
    return Error(ErrorCode::kSystem,
                 fmt::format("mount point {}: no permission to mount there", directory))
        .with_hint("use a directory of your own");
  }
  return path;
}

}  // namespace latchkey::tools
