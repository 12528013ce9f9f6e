#include "tools/new_file.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

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

Result<TemporaryFile> TemporaryFile::make(const std::string& path, Bytes bytes) {
  const std::filesystem::path place(path);
  std::string name = (place.parent_path() / ("." + place.filename().string() + ".XXXXXX")).string();
  TemporaryFile file;
  file.fd_ = engine::UniqueFd(mkostemp(name.data(), O_CLOEXEC));  // mode 0600
  if (file.fd_.get() < 0) return Error::system("cannot make a file beside " + path, errno);
  file.name_ = std::move(name);
  if (auto done = fill(file.fd_.get(), bytes, file.name_); !done) return std::move(done).error();
  return file;
}

TemporaryFile::~TemporaryFile() {
  if (!name_.empty()) (void)unlink(name_.c_str());
}

Result<void> TemporaryFile::move_to(const std::string& path, bool replace) {
  int result = renameat2(AT_FDCWD, name_.c_str(), AT_FDCWD, path.c_str(),
                         replace ? 0U : unsigned{RENAME_NOREPLACE});
  if (result != 0 && errno == EINVAL && !replace) {  // a file system that cannot tell
    errno = EEXIST;
    result = access(path.c_str(), F_OK) == 0 ? -1 : rename(name_.c_str(), path.c_str());
  }
  if (result != 0) {
    if (errno == EEXIST) {
      return Error(ErrorCode::kRefused, path + " exists already: it is not overwritten");
    }
    return Error::system("cannot make " + path, errno);
  }
  name_.clear();
  return sync_folder_of(path);
}

Result<void> replace_file(const std::string& path, Bytes bytes) {
  auto file = TemporaryFile::make(path, bytes);
  if (!file) return std::move(file).error();
  return file->move_to(path, true);
}

}  // namespace latchkey::tools
