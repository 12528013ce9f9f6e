#include "frontends/nbd/listener.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/bytes.h"

namespace latchkey::frontends {

engine::Result<NbdTcpPlace> parse_tcp_place(const std::string& text) {
  const auto bad = [&](const std::string& what) {
    return engine::Error(engine::ErrorCode::kUsage,
                         fmt::format("cannot listen on '{}': {}", engine::printable(text), what))
        .with_hint("write HOST:PORT, such as 127.0.0.1:10809, localhost:0 or [::1]:10809");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad("no port");
  NbdTcpPlace place;
  place.host = text.substr(0, colon);
  if (place.host.size() >= 2 && place.host.front() == '[' && place.host.back() == ']') {
    place.host = place.host.substr(1, place.host.size() - 2);
  } else if (place.host.find(':') != std::string::npos) {
    return bad("an ipv6 address needs brackets");
  }
  if (place.host.empty()) return bad("no host");
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, place.port);
  if (begin == end || error != std::errc() || stop != end) return bad("the port is not a number");
  return place;
}

namespace nbd {

namespace {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::UniqueFd;

constexpr int kBacklog = 32;

std::string percent_encoded(const std::string& text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

bool is_loopback(const sockaddr& address) noexcept {
  constexpr std::uint32_t kNet = 127;
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == kNet;
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
         (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == kNet);
}

// "127.0.0.1:10809" as the kernel has it: with the port that it chose.
std::string address_of(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(socket, address, &size) != 0 ||
      ::getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  if (storage.ss_family == AF_INET6) return fmt::format("[{}]:{}", host.data(), port.data());
  return fmt::format("{}:{}", host.data(), port.data());
}

// Why the path is taken, and what the user can do; nothing is ever removed unasked.
Error path_exists(const std::string& path, const sockaddr_un& address) {
  Error error(ErrorCode::kSystem, fmt::format("socket {} exists", engine::printable(path)));
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode)) {
    return std::move(error).with_hint("it is not a socket: choose another path");
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool refused =
      probe.get() >= 0 &&
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED;
  return std::move(error).with_hint(
      refused ? "no server listens on it: remove it, or choose another path"
              : "a server is listening on it: stop that one, or choose another path");
}

}  // namespace

Result<Listener> Listener::open(const NbdOptions& options) {
  if (const auto* place = std::get_if<NbdUnixPlace>(&options.place)) return open_unix(*place);
  return open_tcp(std::get<NbdTcpPlace>(options.place), options.allow_remote);
}

Result<Listener> Listener::open_unix(const NbdUnixPlace& place) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (place.path.empty() || place.path.find('\0') != std::string::npos) {
    return Error(ErrorCode::kUsage, "the socket's path is empty");
  }
  if (place.path.size() >= sizeof address.sun_path) {
    return Error(ErrorCode::kUsage,
                 fmt::format("socket path is {} bytes long, the system takes at most {}",
                             place.path.size(), sizeof address.sun_path - 1))
        .with_hint("choose a shorter path, such as one in /tmp, or a relative one");
  }
  std::memcpy(address.sun_path, place.path.data(), place.path.size());

  Listener listener;
  listener.socket_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string what = fmt::format("cannot listen on {}", engine::printable(place.path));
  const int socket = listener.socket_.get();
  if (socket < 0) return Error::system(what, errno);
  // The mode of an unbound socket is the one that bind() gives the path (less the umask), so that
  // there is no instant at which anyone else could connect.
  if (::fchmod(socket, S_IRUSR | S_IWUSR) != 0) return Error::system(what, errno);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EADDRINUSE) return path_exists(place.path, address);
    const bool no_folder = errno == ENOENT;
    Error error = Error::system(what, errno);
    return no_folder ? std::move(error).with_hint("create its folder first") : std::move(error);
  }
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(place.path, ignored);
  listener.path_ = ignored ? place.path : absolute.string();
  struct stat bound {};
  if (::lstat(place.path.c_str(), &bound) == 0) {
    listener.path_device_ = bound.st_dev;
    listener.path_inode_ = bound.st_ino;
  }
  if (::listen(socket, kBacklog) != 0) {
    const int failed = errno;
    listener.close();
    return Error::system(what, failed);
  }
  return listener;
}

Result<Listener> Listener::open_tcp(const NbdTcpPlace& place, bool allow_remote) {
  const std::string what =
      fmt::format("cannot listen on {} port {}", engine::printable(place.host), place.port);
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status =
      ::getaddrinfo(place.host.c_str(), std::to_string(place.port).c_str(), &wanted, &found);
  if (status != 0) {
    return Error(ErrorCode::kSystem, fmt::format("{}: {}", what, ::gai_strerror(status)))
        .with_hint("give an address of this machine, such as 127.0.0.1");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  for (const addrinfo* each = found; each != nullptr && !allow_remote; each = each->ai_next) {
    if (is_loopback(*each->ai_addr)) continue;
    return Error(ErrorCode::kUsage,
                 fmt::format("{}: it is not a loopback address, and anyone who can reach it could "
                             "read the plaintext",
                             what))
        .with_hint("listen on 127.0.0.1 and use an ssh tunnel, or add --insecure");
  }
  int failed = EADDRNOTAVAIL;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Listener listener;
    listener.socket_ = UniqueFd(
        ::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, each->ai_protocol));
    const int socket = listener.socket_.get();
    const int on = 1;
    if (socket >= 0) ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (socket < 0 || ::bind(socket, each->ai_addr, each->ai_addrlen) != 0 ||
        ::listen(socket, kBacklog) != 0) {
      failed = errno;
      continue;
    }
    listener.address_ = address_of(socket);
    return listener;
  }
  Error error = Error::system(what, failed);
  if (failed == EADDRINUSE) {
    return std::move(error).with_hint("another program uses this port: choose another, or 0");
  }
  return error;
}

std::string Listener::uri(const std::string& export_name) const {
  const std::string name = percent_encoded(export_name, false);
  if (path_.empty()) {
    return name.empty() ? fmt::format("nbd://{}", address_)
                        : fmt::format("nbd://{}/{}", address_, name);
  }
  return fmt::format("nbd+unix:///{}?socket={}", name, percent_encoded(path_, true));
}

void Listener::close() noexcept {
  struct stat now {};
  if (!path_.empty() && ::lstat(path_.c_str(), &now) == 0 && now.st_dev == path_device_ &&
      now.st_ino == path_inode_) {
    ::unlink(path_.c_str());
  }
  socket_ = UniqueFd();
}

}  // namespace nbd

}  // namespace latchkey::frontends
