#include "tools/bench/interruption.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace latchkey::tools::bench {

using engine::Error;
using engine::Result;

Result<std::unique_ptr<Interruption>> Interruption::arm() {
  auto signals = StopSignals::arm();
  if (!signals) return std::move(signals).error();
  engine::UniqueFd ending(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (ending.get() < 0) return Error::system("cannot wait for signals", errno);
  std::unique_ptr<Interruption> armed(new Interruption(std::move(*signals), std::move(ending)));
  try {
    armed->watcher_ = std::thread([watched = armed.get()] { watched->watch(); });
  } catch (const std::system_error& failed) {
    return Error::system("cannot wait for signals", failed.code().value());
  }
  return armed;
}

Interruption::~Interruption() {
  const std::uint64_t one = 1;
  // Cannot fail: the counter would have to reach 2^64 - 1.
  static_cast<void>(!::write(ending_.get(), &one, sizeof one));
  if (watcher_.joinable()) watcher_.join();
}

void Interruption::watch() noexcept {
  std::array<pollfd, 2> fds{{{signals_.fd(), POLLIN, 0}, {ending_.get(), POLLIN, 0}}};
  while (poll(fds.data(), fds.size(), -1) < 0) {  // EINTR
  }
  if (fds[0].revents != 0) interrupted_.store(true);
}

void Interruption::finish() {
  if (const int signal = signals_.take(); signal != 0) StopSignals::die_of(signal);
}

}  // namespace latchkey::tools::bench
