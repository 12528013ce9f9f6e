#include "frontends/nbd/whole_writes.h"

#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace latchkey::frontends::nbd {

WholeWrites::Turn::Turn(const WholeWrites& line, std::size_t size) noexcept
    : line_(&line), size_(size), bytes_(new (std::nothrow) std::byte[size]) {}

WholeWrites::Turn::Turn(Turn&& other) noexcept
    : line_(std::exchange(other.line_, nullptr)),
      size_(other.size_),
      bytes_(std::move(other.bytes_)) {}

WholeWrites::Turn::~Turn() {
  bytes_.reset();
  if (line_ != nullptr) line_->give_back();
}

engine::Result<WholeWrites> WholeWrites::make() {
  engine::UniqueFd turns(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE));
  if (turns.get() < 0) return engine::Error::system("nbd server: no event descriptor", errno);
  return WholeWrites(std::move(turns));
}

std::optional<WholeWrites::Turn> WholeWrites::take(ByteStream& stream, std::size_t size,
                                                   std::size_t to_come) const noexcept {
  std::uint64_t one = 0;
  // Another may be quicker once it is free: look again.
  while (::read(turns_.get(), &one, sizeof one) != ssize_t{sizeof one}) {
    if (errno != EAGAIN && errno != EINTR) return std::nullopt;
    if (!stream.wait_for(turns_.get(), to_come)) return std::nullopt;
  }
  return Turn(*this, size);
}

void WholeWrites::give_back() const noexcept {
  const std::uint64_t one = 1;
  // Cannot fail: the counter would have to reach 2^64 - 1.
  static_cast<void>(!::write(turns_.get(), &one, sizeof one));
}

}  // namespace latchkey::frontends::nbd
