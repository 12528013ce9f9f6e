#include "tools/bench/page_cache.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/bytes.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::Result;

Result<PageCache> PageCache::of(const std::string& path) {
  engine::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return Error::system("cannot open " + engine::printable(path), errno);
  return PageCache(std::move(fd));
}

void PageCache::forget() const {
  (void)fdatasync(fd_.get());
  (void)posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
}

Result<void> PageCache::fill(const Range& range, const std::atomic<bool>& interrupted) const {
  const PageBuffer buffer(kSequentialBytes);
  for (std::uint64_t at = 0; at < range.length && !interrupted.load();) {
    const auto piece = buffer.span().first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.span().size(), range.length - at)));
    const ssize_t n =
        pread(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(range.offset + at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error::system("cannot read the image", n < 0 ? errno : EIO);
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

std::optional<double> PageCache::resident_part(const Range& range) const {
  constexpr std::uint64_t kPlaces = 256;
  std::uint64_t there = 0;
  for (std::uint64_t i = 0; i < kPlaces; ++i) {
    std::byte byte{};
    const iovec into{&byte, 1};
    const auto offset = static_cast<off_t>(range.offset + range.length / kPlaces * i);
    // Answers at once: with the byte where it is in memory, with EAGAIN where it is not.
    const ssize_t n = preadv2(fd_.get(), &into, 1, offset, RWF_NOWAIT);
    if (n < 0 && errno != EAGAIN) return std::nullopt;
    if (n > 0) ++there;
  }
  return static_cast<double>(there) / static_cast<double>(kPlaces);
}

}  // namespace latchkey::tools::bench
