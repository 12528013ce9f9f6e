#include "engine/file_lock.h"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace latchkey::engine {
namespace {

constexpr off_t kQemuUses = 100;
constexpr off_t kQemuDoesNotShare = 200;
constexpr off_t kConsistentRead = 0;
constexpr off_t kWrite = 1;
constexpr off_t kResize = 3;

struct flock byte_lock(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

// Holds a byte in the way QEMU does: shared, because presence alone is the message.
bool hold(int fd, off_t byte) {
  struct flock lock = byte_lock(F_RDLCK, byte);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// Does another open file description hold this byte?
bool held_by_others(int fd, off_t byte) {
  struct flock lock = byte_lock(F_WRLCK, byte);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool locks_unknown(int sys_errno) {
  return sys_errno == EOPNOTSUPP || sys_errno == ENOLCK || sys_errno == EINVAL ||
         sys_errno == ENOSYS;
}

Error in_use(const std::string& path, const char* how) {
  return Error(ErrorCode::kSystem, fmt::format("{} is open {} another program", path, how))
      .with_hint("end the other program (try: fuser -v " + path + "), or work on a copy");
}

Result<void> lock_for_qemu(int fd, FileLock mode, const std::string& path) {
  const bool writer = mode == FileLock::kExclusive;
  // First show ourselves, then look at the others: of two that start together at least one sees
  // the other.
  bool shown = hold(fd, kQemuUses + kConsistentRead) && hold(fd, kQemuDoesNotShare + kWrite) &&
               hold(fd, kQemuDoesNotShare + kResize);
  if (writer) shown = shown && hold(fd, kQemuUses + kWrite) && hold(fd, kQemuUses + kResize);
  if (!shown) return {};  // the file system knows flock() only
  if (held_by_others(fd, kQemuUses + kWrite) || held_by_others(fd, kQemuUses + kResize)) {
    return in_use(path, "for writing in");
  }
  if (held_by_others(fd, kQemuDoesNotShare + kConsistentRead) ||
      (writer && (held_by_others(fd, kQemuDoesNotShare + kWrite) ||
                  held_by_others(fd, kQemuDoesNotShare + kResize)))) {
    return in_use(path, "in");
  }
  return {};
}

}  // namespace

Result<void> lock_file(int fd, FileLock mode, const std::string& path, Notices& notices) {
  const bool writer = mode == FileLock::kExclusive;
  if (flock(fd, (writer ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return in_use(path, writer ? "in" : "for writing in");
    if (!locks_unknown(errno)) return Error::system("cannot lock " + path, errno);
    notices.warn(path, "its file system knows no locks: nothing keeps other programs away");
  }
  return lock_for_qemu(fd, mode, path);
}

bool has_writer(int fd) noexcept {
  if (held_by_others(fd, kQemuUses + kWrite)) return true;
  // A shared flock fails only against an exclusive one.
  if (flock(fd, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK;
  flock(fd, LOCK_UN);
  return false;
}

}  // namespace latchkey::engine
