#include "frontends/nbd/socket_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace latchkey::frontends::nbd {

namespace {

// A unix socket's default send buffer (208 KiB) makes every large answer wait for the client half
// way; the kernel caps what is asked for. TCP sizes its own buffers better than a number here
// would.
constexpr int kUnixBufferBytes = 2 << 20;

void set_option(int socket, int level, int name, int value) noexcept {
  // Advice: a socket that does not take it works all the same.
  static_cast<void>(::setsockopt(socket, level, name, &value, sizeof value));
}

}  // namespace

SocketStream::SocketStream(int socket, const std::atomic<bool>& stopping) noexcept
    : socket_(socket), stopping_(stopping) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return;
  if (domain == AF_UNIX) {
    set_option(socket, SOL_SOCKET, SO_SNDBUF, kUnixBufferBytes);
  } else {
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  }
}

std::size_t SocketStream::receive(engine::MutableBytes into) noexcept {
  if (stopping()) {
    if (!counted_) {
      int waiting = 0;
      if (::ioctl(socket_, FIONREAD, &waiting) != 0 || waiting < 0) waiting = 0;
      left_bytes_ = static_cast<std::size_t>(waiting);
      counted_ = true;
    }
    into = into.first(std::min(into.size(), left_bytes_));
  }
  if (into.empty()) return 0;
  while (true) {
    const ssize_t got = ::recv(socket_, into.data(), into.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    if (counted_) left_bytes_ -= static_cast<std::size_t>(got);
    return static_cast<std::size_t>(got);
  }
}

bool SocketStream::send(std::span<iovec> parts) noexcept {
  while (!parts.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    auto left = static_cast<std::size_t>(sent);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (!parts.empty()) {
      parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + left;
      parts.front().iov_len -= left;
    }
  }
  return true;
}

bool SocketStream::wait_for(int descriptor, std::size_t to_come) noexcept {
  short watched = POLLRDHUP;
  while (true) {
    std::array<pollfd, 2> fds{{{descriptor, POLLIN, 0}, {socket_, watched, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    const auto happened = static_cast<unsigned>(fds[1].revents);
    if ((happened & (POLLHUP | POLLERR | POLLNVAL)) != 0) return false;
    if ((happened & POLLRDHUP) != 0) {
      // The other side (or a stop of the server) has ended the sending: is all of it here?
      int waiting = 0;
      if (::ioctl(socket_, FIONREAD, &waiting) != 0 || waiting < 0 ||
          static_cast<std::size_t>(waiting) < to_come) {
        return false;
      }
      watched = 0;  // it would be told again at once
    }
    if (fds[0].revents != 0) return true;
  }
}

void SocketStream::finish() noexcept {
  static_cast<void>(::shutdown(socket_, SHUT_WR));
  std::array<std::byte, 4096> sink;
  constexpr int kMostReads = 1024;  // 4 MiB: as much as a socket buffer holds
  for (int i = 0; i < kMostReads; ++i) {
    if (::recv(socket_, sink.data(), sink.size(), MSG_DONTWAIT) <= 0) break;
  }
  static_cast<void>(::shutdown(socket_, SHUT_RDWR));
}

}  // namespace latchkey::frontends::nbd
