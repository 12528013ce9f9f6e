#include "tools/new_file.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "engine/unique_fd.h"

namespace latchkey::tools {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Result<void> fill(int fd, Bytes bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error::system("cannot write " + path, n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  if (fsync(fd) != 0) return Error::system("cannot sync " + path, errno);
  return {};
}

}  // namespace

MadeFiles::~MadeFiles() {
  for (const std::string& path : paths_) (void)unlink(path.c_str());
}

Result<void> sync_folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const engine::UniqueFd fd(
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a folder; the file itself has been.
  if (fd.get() >= 0 && fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    return Error::system("cannot sync the folder of " + path, errno);
  }
  return {};
}

Result<void> write_new_file(const std::string& path, Bytes bytes) {
  const engine::UniqueFd fd(
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) {
    if (errno == EEXIST) {
      return Error(ErrorCode::kRefused, path + " exists already: it is not overwritten")
          .with_hint("give another name, or move it away");
    }
    return Error::system("cannot make " + path, errno);
  }
  if (auto done = fill(fd.get(), bytes, path); !done) {
    unlink(path.c_str());
    return done;
  }
  return sync_folder_of(path);
}

Result<void> replace_file(const std::string& path, Bytes bytes) {
  const std::string fresh = path + ".new";
  (void)unlink(fresh.c_str());  // of a process that was killed here
  if (auto done = write_new_file(fresh, bytes); !done) return done;
  if (rename(fresh.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(fresh.c_str());
    return Error::system("cannot replace " + path, reason);
  }
  return sync_folder_of(path);
}

}  // namespace latchkey::tools
