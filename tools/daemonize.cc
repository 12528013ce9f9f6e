#include "tools/daemonize.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/exit_status.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::Result;

namespace {

int exit_status_of_child(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return kSystem;
  }
  if (WIFSIGNALED(status)) StopSignals::die_of(WTERMSIG(status));
  return WEXITSTATUS(status);
}

// Until the child says it is ready or ends. `signals` is a signalfd.
int wait_for_child(pid_t child, int report_fd, int signals) {
  std::array<pollfd, 2> descriptors = {pollfd{report_fd, POLLIN, 0}, pollfd{signals, POLLIN, 0}};
  while (true) {
    if (poll(descriptors.data(), descriptors.size(), -1) < 0) continue;  // EINTR
    if (descriptors[1].revents != 0) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        kill(child, static_cast<int>(info.ssi_signo));
      }
    }
    if (descriptors[0].revents != 0) {
      char ready = 0;
      const ssize_t got = read(report_fd, &ready, 1);
      if (got == 1) return kDone;
      if (got == 0) return exit_status_of_child(child);
    }
  }
}

}  // namespace

Handover::Handover(Handover&& other) noexcept
    : report_fd_(std::exchange(other.report_fd_, -1)), exit_status_(other.exit_status_) {}

Handover::~Handover() {
  if (report_fd_ >= 0) close(report_fd_);
}

Result<Handover> Handover::fork_off() {
  std::array<int, 2> pipe_fds{};
  if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return Error::system("cannot make a pipe", errno);
  std::fflush(nullptr);  // or both processes would print what is buffered
  sigset_t forwarded;
  sigset_t before;
  sigemptyset(&forwarded);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&forwarded, signal);
  pthread_sigmask(SIG_BLOCK, &forwarded, &before);
  const int signals = signalfd(-1, &forwarded, SFD_CLOEXEC);
  const pid_t child = signals < 0 ? -1 : fork();
  if (child < 0) {
    const int reason = errno;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    if (signals >= 0) close(signals);
    return Error::system("cannot start a background process", reason);
  }
  if (child == 0) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    close(signals);
    close(pipe_fds[0]);
    return Handover(pipe_fds[1]);
  }
  close(pipe_fds[1]);
  const int status = wait_for_child(child, pipe_fds[0], signals);
  close(pipe_fds[0]);
  close(signals);
  return Handover(std::optional<int>(status));
}

Result<void> Handover::ready() {
  const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) return Error::system("cannot open /dev/null", errno);
  std::fflush(nullptr);
  // The session first: a terminal that closes as soon as the parent has gone must not reach us.
  setsid();
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null_fd, fd);
  close(null_fd);
  if (chdir("/") != 0) return Error::system("cannot change to /", errno);
  const char done = 1;
  if (write(report_fd_, &done, 1) != 1) {
    return Error::system("the command that started this one is gone", errno);
  }
  close(std::exchange(report_fd_, -1));
  return {};
}

}  // namespace latchkey::tools
