// latchkey serve: the image as NBD exports, until a signal comes or the command of --run ends.
#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "frontends/nbd/server.h"
#include "tools/child_process.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/fault_printer.h"
#include "tools/listen_place.h"
#include "tools/open_image.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct ServeOptions {
  OpenOptions open;
  ListenOptions place;
  std::string run;
  bool discard = false;
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

// The command's end, after a signal has come: it is asked to end, and at the next signal made to.
void end_command(ChildProcess& child, StopSignals& signals) {
  child.send(SIGTERM);
  pollfd watched[] = {{child.pidfd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
  while (true) {
    if (poll(watched, 2, -1) < 0) continue;  // EINTR
    if (watched[0].revents != 0) return;
    if (signals.take() != 0) child.send(SIGKILL);
  }
}

// Serves until the command ends, or a signal comes.
Result<void> serve_command(frontends::NbdServer& server, const std::string& command,
                           const ListenPlace& place, StopSignals& signals) {
  auto child =
      ChildProcess::start(command, {{"uri", server.uri()}, {"unixsocket", place.unix_socket()}});
  if (!child) return std::move(child).error();
  auto stop = EitherReadable::watch(signals.fd(), child->pidfd());
  auto served = stop ? server.run((*stop)->fd()) : Result<void>(std::move(stop).error());
  const bool stopped = signals.take() != 0;
  if (stopped || !served) end_command(*child, signals);
  const std::string ended = child->wait();
  if (!served) return served;
  if (!ended.empty()) {
    return Error(ErrorCode::kRefused,
                 fmt::format("the command of --run {} with {}",
                             stopped ? "was stopped before its end, and ended" : "ended", ended));
  }
  return {};
}

Result<void> serve(frontends::NbdServer& server, const ServeOptions& options,
                   const ListenPlace& place) {
  auto signals = StopSignals::arm();
  if (!signals) return std::move(signals).error();
  const FaultPrinter faults;
  if (!options.run.empty()) return serve_command(server, options.run, place, *signals);
  if (auto said = say_ready(server.uri()); !said) return said;
  return server.run(signals->fd());
}

int run_serve(const ServeOptions& options) {
  auto place = choose_listen_place(options.place);
  if (!place) return fail(place.error());
  (*place)->nbd.allow_discard = options.discard;
  auto opened = open_image(options.open);
  if (!opened) return fail(opened.error());
  if (auto made = (*place)->make_private_directory(); !made) return fail(made.error());
  auto server = frontends::NbdServer::listen((*place)->nbd, std::move(opened->exports));
  if (!server) return fail(server.error());
  if (std::holds_alternative<frontends::NbdTcpPlace>((*place)->nbd.place)) {
    warn(options.place.insecure
             ? "anybody who can reach this address can read the plaintext"
             : "any user of this machine can connect to a TCP port; --socket is private");
  }
  auto served = serve(**server, options, **place);
  return served ? kDone : fail(served.error());
}

}  // namespace

void add_serve_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "present an image as NBD exports");
  add_open_options(*command, options->open);
  add_partition_option(*command, options->open);
  add_locked_option(*command, options->open);
  auto* socket = command
                     ->add_option("--socket", options->place.socket,
                                  "listen on this unix socket (mode 0600); must not exist yet")
                     ->type_name("PATH");
  auto* listen =
      command
          ->add_option("--listen", options->place.listen,
                       "listen on this TCP address instead; any user of this machine can connect")
          ->type_name("HOST:PORT")
          ->excludes(socket);
  command
      ->add_flag("--insecure", options->place.insecure,
                 "allow --listen beyond this machine, without encryption or passwords")
      ->needs(listen);
  command
      ->add_flag("--discard", options->discard,
                 "pass TRIM on to the image file; it reveals which sectors are free")
      ->needs(command->get_option("--read-write"));
  command
      ->add_option("--run", options->run,
                   "run this with $uri and $unixsocket set; its end ends the server")
      ->type_name("COMMAND")
      ->check([](const std::string& text) {
        return text.empty() ? std::string("the command is empty") : std::string();
      });
  command->footer(
      "Prints 'ready URI' once it listens (not with --run), and serves until SIGINT or SIGTERM.\n"
      "Exports: disk, p1, p2, ...; the default one is the volume that opened, --partition's, or\n"
      "disk. Without --socket and --listen it makes a private temporary socket.\n\n"
      "Examples:\n"
      "  latchkey serve disk.vhd --key disk.key --run 'nbdcopy \"$uri\" plain.img'\n"
      "  latchkey serve disk.vhd --socket disk.sock      asks for the passphrase\n"
      "  nbdinfo --list 'nbd+unix:///?socket=disk.sock'  in another terminal");
  command->callback([options, &exit_status] { exit_status = run_serve(*options); });
}

}  // namespace latchkey::tools
