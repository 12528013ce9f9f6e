#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/nbd/server.h"
#include "tools/child_process.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/fault_printer.h"
#include "tools/open_image.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct ServeOptions {
  OpenOptions open;
  std::string socket;
  std::string listen;
  std::string run;
  bool insecure = false;
  bool discard = false;
};

// A directory only we can enter, for a socket nobody named. Removed with what is in it.
class PrivateDirectory {
 public:
  static Result<std::unique_ptr<PrivateDirectory>> make() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    const char* temporary = std::getenv("TMPDIR");
    const std::string base = runtime != nullptr     ? runtime
                             : temporary != nullptr ? temporary
                                                    : "/tmp";
    std::string name = base + "/latchkey-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) return Error::system("cannot make " + name, errno);
    return std::unique_ptr<PrivateDirectory>(new PrivateDirectory(name));
  }
  ~PrivateDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// Readable as soon as one of two descriptors is.
class EitherReadable {
 public:
  static Result<std::unique_ptr<EitherReadable>> watch(int first, int second) {
    std::unique_ptr<EitherReadable> either(new EitherReadable(epoll_create1(EPOLL_CLOEXEC)));
    epoll_event event{};
    event.events = EPOLLIN;
    if (either->fd_ < 0 || epoll_ctl(either->fd_, EPOLL_CTL_ADD, first, &event) != 0 ||
        epoll_ctl(either->fd_, EPOLL_CTL_ADD, second, &event) != 0) {
      return Error::system("cannot watch the command of --run", errno);
    }
    return either;
  }
  ~EitherReadable() {
    if (fd_ >= 0) close(fd_);
  }
  EitherReadable(const EitherReadable&) = delete;
  EitherReadable& operator=(const EitherReadable&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  explicit EitherReadable(int fd) noexcept : fd_(fd) {}
  const int fd_;
};

// Where to listen. Checked before any key is asked for.
struct Place {
  frontends::NbdOptions nbd;
  std::unique_ptr<PrivateDirectory> directory;  // holds the socket nobody named
};

Result<Place> choose_place(const ServeOptions& options) {
  Place place;
  place.nbd.allow_remote = options.insecure;
  place.nbd.allow_discard = options.discard;
  if (!options.listen.empty()) {
    auto tcp = frontends::parse_tcp_place(options.listen);
    if (!tcp) return std::move(tcp).error().within("--listen");
    place.nbd.place = std::move(*tcp);
    return place;
  }
  std::string socket = options.socket;
  if (socket.empty()) {
    auto directory = PrivateDirectory::make();
    if (!directory) return std::move(directory).error();
    place.directory = std::move(*directory);
    socket = place.directory->path() + "/nbd.sock";
  }
  struct stat about {};
  if (lstat(socket.c_str(), &about) == 0) {
    return Error(ErrorCode::kUsage, "--socket: " + socket + " exists")
        .with_hint("name another path, or remove it if no server uses it any more");
  }
  place.nbd.place = frontends::NbdUnixPlace{socket};
  return place;
}

// Serves until the command ends, or a signal comes: then the command is asked to end, too.
Result<void> serve_command(frontends::NbdServer& server, const std::string& command,
                           const Place& place, const StopSignals& signals) {
  const auto* unix_place = std::get_if<frontends::NbdUnixPlace>(&place.nbd.place);
  const std::string socket =
      unix_place != nullptr ? std::filesystem::absolute(unix_place->path).string() : "";
  auto child = ChildProcess::start(command, {{"uri", server.uri()}, {"unixsocket", socket}});
  if (!child) return std::move(child).error();
  auto stop = EitherReadable::watch(signals.fd(), child->pidfd());
  auto served = stop ? server.run((*stop)->fd()) : Result<void>(std::move(stop).error());
  child->terminate();
  const std::string ended = child->wait();
  if (!served) return served;
  if (!ended.empty()) {
    return Error(ErrorCode::kRefused, "the command of --run ended with " + ended);
  }
  return {};
}

Result<void> serve(frontends::NbdServer& server, const ServeOptions& options, const Place& place) {
  const auto signals = StopSignals::arm();
  if (!signals) return signals.error();
  const FaultPrinter faults;
  if (!options.run.empty()) return serve_command(server, options.run, place, *signals);
  fmt::print("ready {}\n", server.uri());
  std::fflush(stdout);
  return server.run(signals->fd());
}

int run_serve(const ServeOptions& options) {
  auto place = choose_place(options);
  if (!place) return fail(place.error());
  auto opened = open_image(options.open);
  if (!opened) return fail(opened.error());
  auto server = frontends::NbdServer::listen(place->nbd, std::move(opened->exports));
  if (!server) return fail(server.error());
  if (std::holds_alternative<frontends::NbdTcpPlace>(place->nbd.place)) {
    warn(options.insecure
             ? "anybody who can reach this address can read the plaintext"
             : "any user of this machine can connect to a TCP port; --socket is private");
  }
  auto served = serve(**server, options, *place);
  return served ? kDone : fail(served.error());
}

}  // namespace

void add_serve_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "present an image as NBD exports");
  add_open_options(*command, options->open);
  add_partition_option(*command, options->open);
  add_locked_option(*command, options->open);
  auto* socket =
      command->add_option("--socket", options->socket, "listen on this unix socket (mode 0600)")
          ->type_name("PATH");
  command->add_option("--listen", options->listen, "listen on this TCP address and port")
      ->type_name("HOST:PORT")
      ->excludes(socket);
  command->add_flag("--insecure", options->insecure,
                    "allow --listen beyond this machine, without encryption or passwords");
  command->add_flag("--discard", options->discard,
                    "pass TRIM on to the image file; it reveals which sectors are free");
  command
      ->add_option("--run", options->run,
                   "run this with $uri and $unixsocket set, and end when it ends")
      ->type_name("COMMAND");
  command->footer(
      "Prints 'ready URI' once it listens (not with --run). Exports: disk, p1, p2, ...");
  command->callback([options, &exit_status] { exit_status = run_serve(*options); });
}

}  // namespace latchkey::tools
