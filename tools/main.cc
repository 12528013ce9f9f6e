// latchkey: opens encrypted disk images and presents them as plaintext.
#include <csignal>
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "engine/process_guard.h"
#include "tools/commands.h"
#include "tools/exit_status.h"

namespace {

constexpr const char* kDescription =
    "Opens encrypted disk images (raw and VHD, LUKS1 and LUKS2) and presents them as plaintext,\n"
    "by NBD or as files. Read-only unless --read-write is given.";

constexpr const char* kFooter =
    "Start with:   latchkey info IMAGE\n"
    "Exit status:  0 done, 1 the answer is no, 2 usage, 3 no key fits, 4 damaged or not "
    "supported,\n"
    "              5 system error";

int run(int argc, char** argv) {
  using namespace latchkey::tools;
  CLI::App app(kDescription, "latchkey");
  app.footer(kFooter);
  app.require_subcommand(1);
  int exit_status = kDone;
  add_info_command(app, exit_status);
  add_serve_command(app, exit_status);
  add_expose_command(app, exit_status);
  add_mount_command(app, exit_status);
  add_umount_command(app, exit_status);
  app.add_subcommand("demo", "make an encrypted image and open it in every way, step by step")
      ->callback([&exit_status] {
        fmt::print(stderr,
                   "latchkey: demo is run by the wrapper in the source tree\n"
                   "hint: tools/latchkey demo\n");
        exit_status = kUsage;
      });
  app.add_subcommand("version", "print the version")->callback([] {
    fmt::print("latchkey {}\n", LATCHKEY_VERSION);
  });
  app.add_subcommand("help", "print this text")->callback([&app] {
    fmt::print("{}", app.get_formatter()->make_help(&app, "latchkey", CLI::AppFormatMode::Normal));
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    return app.exit(asked_for_help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "latchkey: {}\n", error.what());
    fmt::print(stderr, "hint: latchkey help, or latchkey COMMAND --help\n");
    return kUsage;
  }
  if (std::fflush(stdout) != 0) {
    return fail(latchkey::engine::Error::system("cannot write to standard output", errno));
  }
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  latchkey::engine::guard_process();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error to report, not a death
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return latchkey::tools::fail(
        latchkey::engine::Error(latchkey::engine::ErrorCode::kSystem, error.what()));
  }
}
