// latchkey: opens encrypted disk images and presents them as plaintext.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "engine/process_guard.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/help_text.h"

namespace latchkey::tools {
namespace {

constexpr const char* kDescription =
    "Opens encrypted disk images (raw and VHD; LUKS and BitLocker) and presents them as "
    "plaintext,\n"
    "by NBD or as files. Read-only unless --read-write is given.";

constexpr const char* kFooter =
    "Start with:   latchkey info IMAGE     then: latchkey COMMAND --help\n"
    "Exit status:  0 done (also a server stopped by SIGINT or SIGTERM), 1 the answer is no,\n"
    "              2 usage, 3 no key fits or none was given, 4 damaged or not supported,\n"
    "              5 system error";

void print_help(const CLI::App& app, const std::string& name) {
  fmt::print("{}", app.get_formatter()->make_help(&app, name, CLI::AppFormatMode::Normal));
}

void add_help_command(CLI::App& app, int& exit_status) {
  auto topic = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("help", "print this text, or that of a command");
  command->add_option("COMMAND", *topic, "the command to explain, like copy or key add")
      ->type_name("");
  const auto child_of = [](const CLI::App& parent, const std::string& name) -> const CLI::App* {
    for (const CLI::App* one : parent.get_subcommands({})) {
      if (one->get_name() == name) return one;
    }
    return nullptr;
  };
  command->callback([&app, &exit_status, topic, child_of] {
    const CLI::App* named = &app;
    std::string name = "latchkey";
    for (const std::string& word : *topic) {
      name += " " + word;
      named = child_of(*named, word);
      if (named != nullptr) continue;
      exit_status = fail(engine::Error(engine::ErrorCode::kUsage, "'" + name + "' is not a command")
                             .with_hint("latchkey help lists them"));
      return;
    }
    print_help(*named, name);
  });
}

void add_commands(CLI::App& app, int& exit_status) {
  add_info_command(app, exit_status);
  add_serve_command(app, exit_status);
  add_expose_command(app, exit_status);
  add_mount_command(app, exit_status);
  add_umount_command(app, exit_status);
  add_key_command(app, exit_status);
  add_format_command(app, exit_status);
  add_header_command(app, exit_status);
  add_copy_command(app, exit_status);
  add_bench_command(app, exit_status);
  app.add_subcommand("demo", "make an encrypted image and open it in every way, step by step")
      ->callback([&exit_status] {
        exit_status = fail(engine::Error(engine::ErrorCode::kUsage,
                                         "demo is run by the wrapper in the source tree")
                               .with_hint("tools/latchkey demo"));
      });
  app.add_subcommand("version", "print the version")->callback([] {
    fmt::print("latchkey {}\n", LATCHKEY_VERSION);
  });
  add_help_command(app, exit_status);
}

int run(int argc, char** argv) {
  CLI::App app(kDescription, "latchkey");
  app.formatter(std::make_shared<HelpText>());
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("latchkey ") + LATCHKEY_VERSION,
                       "print the version");
  int exit_status = kDone;
  add_commands(app, exit_status);
  for (CLI::App* command : app.get_subcommands({})) {  // they have inherited it
    if (command->get_footer() == kFooter) command->footer("");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    app.exit(asked_for_help);
  } catch (const CLI::ParseError& error) {
    return fail(engine::Error(engine::ErrorCode::kUsage, usage_message(app, error)));
  }
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    return fail(engine::Error::system("cannot write to standard output", errno));
  }
  return exit_status;
}

}  // namespace
}  // namespace latchkey::tools

int main(int argc, char** argv) {
  latchkey::engine::guard_process();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error to report, not a death
  try {
    return latchkey::tools::run(argc, argv);
  } catch (const std::exception& error) {
    return latchkey::tools::fail(
        latchkey::engine::Error(latchkey::engine::ErrorCode::kSystem, error.what()));
  }
}
