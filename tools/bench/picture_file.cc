#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/unique_fd.h"
#include "tools/bench/report.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Error exists(const std::string& path) {
  return Error(ErrorCode::kUsage, "--svg: " + engine::printable(path) + " exists")
      .with_hint("name another file, or allow replacing it with --force");
}

Error cannot_write(const std::string& path, int reason) {
  return Error::system("--svg: cannot write " + engine::printable(path), reason);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<void> check_picture_place(const std::string& path, bool force) {
  struct stat about {};
  if (lstat(path.c_str(), &about) == 0) {
    if (!force) return exists(path);
    if (S_ISREG(about.st_mode)) return {};
    return Error(ErrorCode::kUsage, "--svg: " + engine::printable(path) + " is not a regular file");
  }
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
  if (access(folder.c_str(), W_OK | X_OK) != 0) return cannot_write(path, errno);
  return {};
}

Result<void> write_picture(const std::string& path, bool force, const std::string& svg) {
  constexpr mode_t kMode = 0666;  // less the umask
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (force ? O_TRUNC : O_EXCL);
  const engine::UniqueFd file(open(path.c_str(), flags, kMode));
  if (file.get() < 0) return errno == EEXIST ? exists(path) : cannot_write(path, errno);
  if (write_all(file.get(), svg)) return {};
  const int reason = errno;
  (void)unlink(path.c_str());  // half a picture is none
  return cannot_write(path, reason);
}

}  // namespace latchkey::tools::bench
