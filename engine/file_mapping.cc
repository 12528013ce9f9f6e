#include "engine/file_mapping.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::engine {

// What the signal handler looks at. One that is free has begin == end.
struct MappedRegion {
  std::atomic<bool> taken{false};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> failed{false};
};

namespace {

constexpr std::size_t kPageBytes = 4096;
// A process opens one image, or a few that belong together.
constexpr std::size_t kMaxMappings = 16;
// The kernel maps some pages around one that is touched, so up to twice this is resident.
constexpr std::uint64_t kMostLentBytes = std::uint64_t{8} << 20;
constexpr std::size_t kMostLoanBytes = std::size_t{1} << 20;

std::array<MappedRegion, kMaxMappings> regions;
struct sigaction before_ours;

// Only what is async-signal-safe: atomics, and one system call.
void survive_bus_error(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (MappedRegion& region : regions) {
    if (address < region.begin.load() || address >= region.end.load()) continue;
    // Before the zeros are there: whoever reads them finds it said.
    region.failed.store(true);
    const int reason = errno;
    void* const page = reinterpret_cast<void*>(round_down(address, kPageBytes));
    const void* const zeros =
        mmap(page, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = reason;
    if (zeros != MAP_FAILED) return;
    break;
  }
  if ((static_cast<unsigned>(before_ours.sa_flags) & SA_SIGINFO) != 0) {
    before_ours.sa_sigaction(signal, info, context);
  } else if (before_ours.sa_handler != SIG_DFL && before_ours.sa_handler != SIG_IGN) {
    before_ours.sa_handler(signal);
  } else {
    ::signal(SIGBUS, SIG_DFL);  // the access is repeated, and ends the process
  }
}

bool install_handler() {
  struct sigaction ours {};
  ours.sa_sigaction = survive_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  return sigaction(SIGBUS, &ours, &before_ours) == 0;
}

// To others mincore() says of every page that it is there, so as to give nothing away.
bool may_ask_what_is_cached(int fd) {
  struct stat about {};
  if (fstat(fd, &about) != 0) return false;
  if (geteuid() == 0 || about.st_uid == geteuid()) return true;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
}

MappedRegion* take_region() {
  for (MappedRegion& region : regions) {
    if (!region.taken.exchange(true)) return &region;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<FileMapping> FileMapping::map(int fd, std::uint64_t size_bytes) {
  static const bool installed = install_handler();
  if (!installed || size_bytes == 0 || size_bytes > PTRDIFF_MAX) return nullptr;
  if (!may_ask_what_is_cached(fd)) return nullptr;
  MappedRegion* const region = take_region();
  if (region == nullptr) return nullptr;
  void* const base = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    region->taken.store(false);
    return nullptr;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(base);
  region->failed.store(false);
  region->begin.store(begin);
  region->end.store(begin + size_bytes);  // last: until then it holds no address
  return std::unique_ptr<FileMapping>(
      new FileMapping(fd, static_cast<std::byte*>(base), size_bytes, *region));
}

FileMapping::~FileMapping() {
  region_.end.store(0);
  munmap(base_, size_bytes_);
  region_.begin.store(0);
  region_.taken.store(false);
}

bool FileMapping::is_cached(std::uint64_t offset) const noexcept {
  unsigned char page = 0;
  return mincore(base_ + round_down(offset, kPageBytes), 1, &page) == 0 && (page & 1U) != 0;
}

Bytes FileMapping::lend(std::uint64_t offset, std::size_t length) noexcept {
  if (region_.failed.load()) return {};
  if (length > kMostLoanBytes) return {};
  // They stand for those between them: what is read ahead fills the page cache in long runs. To ask
  // after every page takes a tenth of the time of a whole copy, and a page that is missing after
  // all comes by a fault.
  if (!is_cached(offset) || !is_cached(offset + length - 1)) return {};
  if (lent_bytes_.fetch_add(length, std::memory_order_relaxed) + length > kMostLentBytes) {
    lent_bytes_.store(0, std::memory_order_relaxed);
    // Whoever reads a page of it at this moment gets it back by a fault.
    madvise(base_, size_bytes_, MADV_DONTNEED);
  }
  return {base_ + offset, length};
}

// A page that the end of the file has moved into reads as zeros behind it, without a signal.
bool FileMapping::intact(Bytes bytes) const noexcept {
  if (region_.failed.load()) return false;
  struct stat about {};
  if (fstat(fd_, &about) != 0) return false;
  const auto end = static_cast<std::uint64_t>(bytes.data() + bytes.size() - base_);
  return static_cast<std::uint64_t>(about.st_size) >= end;
}

}  // namespace latchkey::engine
