#include "tools/helper_program.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// An ordinary user's PATH often lacks the sbin directories. Empty: not installed.
std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") +
                             ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (folder.empty()) continue;
    std::string candidate = folder;
    candidate.append("/").append(name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

// What was written to `fd`, its first line with something in it. (The last lines of such programs
// are advice and addresses.)
std::string first_line(int fd) {
  std::array<char, 4096> text{};
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  std::istringstream lines(std::string(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) return engine::printable(line);
  }
  return {};
}

Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& argv, int output) {
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = -1;
  const int failed =
      posix_spawn(&child, program.c_str(), &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return Error::system("cannot run " + program, failed);
  return child;
}

Error not_installed(const std::string& program, const std::string& debian_package) {
  return Error(ErrorCode::kSystem, fmt::format("the program {} is not installed", program))
      .with_hint("apt-get install " + debian_package);
}

}  // namespace

Result<void> check_helper(const std::string& program, const std::string& debian_package) {
  if (find_program(program).empty()) return not_installed(program, debian_package);
  return {};
}

Result<HelperOutcome> run_helper(const std::vector<std::string>& argv,
                                 const std::string& debian_package) {
  const std::string program = find_program(argv.front());
  if (program.empty()) return not_installed(argv.front(), debian_package);
  // A file rather than a pipe: a helper that goes on in the background may keep it open.
  const int output = memfd_create("helper output", MFD_CLOEXEC);
  if (output < 0) return Error::system("cannot make a temporary file", errno);
  auto child = spawn(program, argv, output);
  if (!child.ok()) {
    close(output);
    return std::move(child).error();
  }
  int status = 0;
  while (waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  HelperOutcome outcome;
  outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.said = first_line(output);
  close(output);
  return outcome;
}

}  // namespace latchkey::tools
