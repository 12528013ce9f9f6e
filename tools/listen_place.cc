#include "tools/listen_place.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <variant>

#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "frontends/nbd/listener.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// What the server would find out only once the keys are derived. The socket itself must not exist
// before there is something to serve: clients wait for it to appear.
Result<void> check_socket_path(const std::string& path) {
  struct stat about {};
  if (lstat(path.c_str(), &about) == 0) {
    return Error(ErrorCode::kUsage, "--socket: " + engine::printable(path) + " exists")
        .with_hint(S_ISSOCK(about.st_mode)
                       ? "name another path, or remove it if no server uses it any more"
                       : "name another path");
  }
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    const int reason = errno;
    Error error =
        Error::system("--socket: cannot listen in " + engine::printable(folder.string()), reason);
    return std::move(error).with_hint(reason == ENOENT ? "create this folder first"
                                                       : "name a path in a folder of your own");
  }
  return {};
}

Result<frontends::NbdTcpPlace> tcp_place(const ListenOptions& options) {
  auto tcp = frontends::parse_tcp_place(options.listen);
  if (!tcp) return std::move(tcp).error().within("--listen");
  frontends::NbdOptions nbd;
  nbd.place = *tcp;
  nbd.allow_remote = options.insecure;
  // Listens, and stops at once: nobody can have connected in earnest, and every reason why it could
  // not be done later is known now.
  auto trial = frontends::nbd::Listener::open(nbd);
  if (!trial) return std::move(trial).error().within("--listen");
  return tcp;
}

}  // namespace

Result<std::unique_ptr<PrivateDirectory>> PrivateDirectory::make() {
  int reason = ENOENT;
  std::string name;
  for (const char* base : {static_cast<const char*>(std::getenv("XDG_RUNTIME_DIR")),
                           static_cast<const char*>(std::getenv("TMPDIR")), "/tmp"}) {
    if (base == nullptr || *base == '\0') continue;
    name = std::string(base) + "/latchkey-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) {
      return std::unique_ptr<PrivateDirectory>(new PrivateDirectory(name));
    }
    reason = errno;
  }
  return Error::system("cannot make " + name, reason)
      .with_hint("set TMPDIR to a folder of your own, or name a --socket");
}

PrivateDirectory::~PrivateDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Result<void> ListenPlace::make_private_directory() {
  auto* const place = std::get_if<frontends::NbdUnixPlace>(&nbd.place);
  if (place == nullptr || !place->path.empty()) return {};
  auto made = PrivateDirectory::make();
  if (!made) return std::move(made).error();
  directory = std::move(*made);
  place->path = directory->path() + "/nbd.sock";
  return {};
}

std::string ListenPlace::unix_socket() const {
  const auto* place = std::get_if<frontends::NbdUnixPlace>(&nbd.place);
  if (place == nullptr) return "";
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(place->path, failed);
  return failed ? place->path : absolute.string();
}

Result<std::unique_ptr<ListenPlace>> choose_listen_place(const ListenOptions& options) {
  auto place = std::make_unique<ListenPlace>();
  place->nbd.allow_remote = options.insecure;
  if (options.listen.empty()) {
    if (!options.socket.empty()) {
      if (auto usable = check_socket_path(options.socket); !usable) return usable.error();
    }
    place->nbd.place.emplace<frontends::NbdUnixPlace>().path = options.socket;
  } else {
    auto tcp = tcp_place(options);
    if (!tcp) return std::move(tcp).error();
    place->nbd.place.emplace<frontends::NbdTcpPlace>(std::move(*tcp));
  }
  return place;
}

}  // namespace latchkey::tools
