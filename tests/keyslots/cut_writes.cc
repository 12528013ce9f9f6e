// A preloaded library that ends a process in the middle of a write to one file, so that a
// re-encryption can be interrupted at a chosen byte.
//
//   CUT_FILE   the file, by its path
//   CUT_AFTER  how many bytes may be written to it
//   CUT_UNIT   the write that goes beyond is cut to a multiple of this, as a disk would
// The process leaves with status 86 once the limit is reached. One thread writes.
#include <cstdlib>

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace {

constexpr int kCutStatus = 86;

struct Cut {
  dev_t device = 0;
  ino_t inode = 0;
  long long left = -1;
  long long unit = 512;
};

Cut& cut() {
  static Cut state = [] {
    Cut made;
    const char* path = std::getenv("CUT_FILE");
    const char* after = std::getenv("CUT_AFTER");
    const char* unit = std::getenv("CUT_UNIT");
    struct stat info {};
    if (path == nullptr || after == nullptr || stat(path, &info) != 0) return made;
    made.device = info.st_dev;
    made.inode = info.st_ino;
    made.left = std::strtoll(after, nullptr, 10);
    if (unit != nullptr) made.unit = std::strtoll(unit, nullptr, 10);
    return made;
  }();
  return state;
}

// How much of this write may happen; ends up below `size` only for the last one.
size_t allowed(int fd, size_t size) {
  Cut& state = cut();
  struct stat info {};
  if (state.left < 0 || fstat(fd, &info) != 0 || info.st_dev != state.device ||
      info.st_ino != state.inode) {
    return size;
  }
  if (static_cast<long long>(size) <= state.left) {
    state.left -= static_cast<long long>(size);
    return size;
  }
  return static_cast<size_t>(state.left / state.unit * state.unit);
}

template <class Call>
ssize_t run(int fd, size_t size, Call call) {
  const size_t part = allowed(fd, size);
  if (part == size) return call(size);
  if (part > 0 && call(part) < 0) _exit(kCutStatus + 1);
  _exit(kCutStatus);
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* from, size_t size) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t)>("write");
  return run(fd, size, [&](size_t part) { return next(fd, from, part); });
}

ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return run(fd, size, [&](size_t part) { return next(fd, from, part, offset); });
}

ssize_t pwrite64(int fd, const void* from, size_t size, off64_t offset) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
  return run(fd, size, [&](size_t part) { return next(fd, from, part, offset); });
}

}  // extern "C"
