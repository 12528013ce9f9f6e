#include "frontends/nbd/server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <list>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/thread_signals.h"
#include "engine/unique_fd.h"
#include "frontends/nbd/handshake.h"
#include "frontends/nbd/listener.h"
#include "frontends/nbd/socket_stream.h"
#include "frontends/nbd/transmission.h"

namespace latchkey::frontends {

namespace {

using Clock = std::chrono::steady_clock;
using engine::Error;
using engine::Result;
using engine::UniqueFd;

// Out of descriptors or memory for a client: how long to leave the backlog alone.
constexpr std::chrono::milliseconds kAcceptPause{100};

int poll_timeout(Clock::time_point now, std::optional<Clock::time_point> until) noexcept {
  if (!until) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

bool passing_shortage(int sys_errno) noexcept {
  return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOBUFS || sys_errno == ENOMEM;
}

}  // namespace

class NbdServer::Impl {
 public:
  Impl(NbdOptions options, ExportList exports, nbd::Listener listener, UniqueFd wake,
       nbd::WholeWrites whole_writes)
      : options_(std::move(options)),
        exports_(std::move(exports)),
        listener_(std::move(listener)),
        wake_(std::move(wake)),
        whole_writes_(std::move(whole_writes)) {}
  ~Impl() {
    stop();
    listener_.close();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> run(int stop_fd);
  std::string uri(const std::string& name) const { return listener_.uri(name); }

 private:
  enum class Phase : std::uint8_t { kHandshake, kExpired, kTransmission, kFinished };

  // The socket is closed by the thread that runs the server, after it joined this connection's own:
  // so it may shut it down at any time without closing another's descriptor.
  struct Connection {
    UniqueFd socket;
    Clock::time_point deadline;  // of the handshake
    std::atomic<Phase> phase{Phase::kHandshake};
    std::thread thread;
  };

  Result<void> accept_clients(int stop_fd);
  void accept_one(int stop_fd);
  void wait_for_place(int stop_fd);
  void start(UniqueFd socket);
  void work(Connection& connection) noexcept;
  void reap();
  void expire_handshakes(Clock::time_point now);
  std::optional<Clock::time_point> next_deadline() const;
  void stop();
  Result<void> flush_exports();
  bool wait_for_wake(Clock::time_point until) noexcept;
  void drain_wake() noexcept;

  const NbdOptions options_;
  const ExportList exports_;
  nbd::Listener listener_;
  const UniqueFd wake_;  // an eventfd that each connection touches when it is finished
  const nbd::WholeWrites whole_writes_;
  std::atomic<bool> stopping_{false};
  std::list<Connection> connections_;
  Clock::time_point accept_after_{};
};

Result<void> NbdServer::Impl::run(int stop_fd) {
  Result<void> served = accept_clients(stop_fd);
  listener_.close();
  stop();
  Result<void> flushed = flush_exports();
  return served.ok() ? flushed : served;
}

Result<void> NbdServer::Impl::accept_clients(int stop_fd) {
  while (true) {
    const Clock::time_point now = Clock::now();
    const bool pausing = now < accept_after_;
    std::optional<Clock::time_point> until = next_deadline();
    if (pausing) until = until ? std::min(*until, accept_after_) : accept_after_;
    std::array<pollfd, 3> fds{{{stop_fd, POLLIN, 0},
                               {wake_.get(), POLLIN, 0},
                               {pausing ? -1 : listener_.fd(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), poll_timeout(now, until)) < 0) {
      if (errno == EINTR) continue;
      return Error::system("nbd server: cannot wait for clients", errno);
    }
    if (fds[0].revents != 0) return {};
    if (fds[1].revents != 0) drain_wake();
    reap();
    expire_handshakes(Clock::now());
    if (fds[2].revents != 0) accept_one(stop_fd);
  }
}

void NbdServer::Impl::accept_one(int stop_fd) {
  UniqueFd socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.get() < 0) {
    // Anything else is this client's trouble (it went away before it was accepted).
    if (passing_shortage(errno)) accept_after_ = Clock::now() + kAcceptPause;
    return;
  }
  if (connections_.size() >= options_.max_connections) wait_for_place(stop_fd);
  if (connections_.size() >= options_.max_connections) return;  // closes it
  start(std::move(socket));
}

// A client that disconnects and connects again may come back before its old place is free.
void NbdServer::Impl::wait_for_place(int stop_fd) {
  const Clock::time_point until = Clock::now() + options_.full_wait;
  while (connections_.size() >= options_.max_connections && Clock::now() < until) {
    std::array<pollfd, 2> fds{{{stop_fd, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), poll_timeout(Clock::now(), until));
    if (ready < 0 && errno != EINTR) return;
    if (ready > 0 && fds[0].revents != 0) return;
    if (ready > 0 && fds[1].revents != 0) drain_wake();
    reap();
  }
}

void NbdServer::Impl::start(UniqueFd socket) {
  // Joins the others once its thread runs: without one it could neither end nor be joined.
  std::list<Connection> starting;
  try {
    Connection& connection = starting.emplace_back();
    connection.socket = std::move(socket);
    connection.deadline = Clock::now() + options_.handshake_timeout;
    const engine::SignalsBlocked blocked;
    connection.thread = std::thread([this, &connection] { work(connection); });
  } catch (const std::system_error&) {
    return;  // no more threads: the socket closes
  } catch (const std::bad_alloc&) {
    return;
  }
  connections_.splice(connections_.end(), starting);
}

void NbdServer::Impl::work(Connection& connection) noexcept {
  nbd::SocketStream stream(connection.socket.get(), stopping_);
  const auto session = nbd::negotiate(stream, exports_, options_.allow_discard);
  Phase expected = Phase::kHandshake;
  if (session && connection.phase.compare_exchange_strong(expected, Phase::kTransmission)) {
    try {
      nbd::Transmission(stream, *session, whole_writes_).run();
    } catch (const std::bad_alloc&) {  // no buffers for this client: it is disconnected
    }
  }
  stream.finish();
  connection.phase.store(Phase::kFinished);
  const std::uint64_t one = 1;
  // Cannot fail: the counter would have to reach 2^64 - 1.
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

void NbdServer::Impl::reap() {
  connections_.remove_if([](Connection& connection) {
    if (connection.phase.load() != Phase::kFinished) return false;
    connection.thread.join();
    return true;
  });
}

void NbdServer::Impl::expire_handshakes(Clock::time_point now) {
  for (Connection& connection : connections_) {
    Phase expected = Phase::kHandshake;
    if (connection.deadline <= now &&
        connection.phase.compare_exchange_strong(expected, Phase::kExpired)) {
      ::shutdown(connection.socket.get(), SHUT_RDWR);
    }
  }
}

std::optional<Clock::time_point> NbdServer::Impl::next_deadline() const {
  std::optional<Clock::time_point> next;
  for (const Connection& connection : connections_) {
    if (connection.phase.load() != Phase::kHandshake) continue;
    next = next ? std::min(*next, connection.deadline) : connection.deadline;
  }
  return next;
}

void NbdServer::Impl::stop() {
  stopping_.store(true, std::memory_order_release);
  // Wakes those that wait for a request; what has arrived can still be received.
  for (const Connection& connection : connections_) ::shutdown(connection.socket.get(), SHUT_RD);
  const Clock::time_point until = Clock::now() + options_.stop_timeout;
  reap();
  while (!connections_.empty() && wait_for_wake(until)) reap();
  for (const Connection& connection : connections_) ::shutdown(connection.socket.get(), SHUT_RDWR);
  for (Connection& connection : connections_) connection.thread.join();
  connections_.clear();
}

// False: the time is over.
bool NbdServer::Impl::wait_for_wake(Clock::time_point until) noexcept {
  pollfd wake{wake_.get(), POLLIN, 0};
  if (::poll(&wake, 1, poll_timeout(Clock::now(), until)) > 0) drain_wake();
  return Clock::now() < until;
}

void NbdServer::Impl::drain_wake() noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(wake_.get(), &count, sizeof count));
}

Result<void> NbdServer::Impl::flush_exports() {
  Result<void> result;
  for (const Export& each : exports_.exports) {
    if (!each.device->writable()) continue;
    const engine::IoStatus status = each.device->flush();
    if (!status.ok() && result.ok()) {
      result = Error::system(fmt::format("export '{}': the last flush failed", each.name),
                             status.sys_errno())
                   .with_hint("what clients wrote last may not be in the image");
    }
  }
  return result;
}

Result<std::unique_ptr<NbdServer>> NbdServer::listen(NbdOptions options, ExportList exports) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (wake.get() < 0) return Error::system("nbd server: no event descriptor", errno);
  Result<nbd::WholeWrites> whole_writes = nbd::WholeWrites::make();
  if (!whole_writes) return std::move(whole_writes).error();
  Result<nbd::Listener> listener = nbd::Listener::open(options);
  if (!listener) return std::move(listener).error();
  auto impl =
      std::make_unique<Impl>(std::move(options), std::move(exports), std::move(listener).value(),
                             std::move(wake), std::move(whole_writes).value());
  return std::unique_ptr<NbdServer>(new NbdServer(std::move(impl)));
}

NbdServer::NbdServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NbdServer::~NbdServer() = default;

std::string NbdServer::uri(const std::string& export_name) const {
  return impl_->uri(export_name);
}
Result<void> NbdServer::run(int stop_fd) {
  return impl_->run(stop_fd);
}

}  // namespace latchkey::frontends
