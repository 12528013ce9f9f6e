#include "frontends/fuse/session_workers.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <system_error>

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/thread_signals.h"

namespace latchkey::frontends {
namespace {

int wake_signal() noexcept {
  return SIGRTMAX - 1;
}

void ignore_wake(int /*signal*/) {}

engine::Result<void> install_wake_handler() {
  struct sigaction action {};
  action.sa_handler = ignore_wake;  // no SA_RESTART: read(2) must return
  if (sigaction(wake_signal(), &action, nullptr) != 0) {
    return engine::Error::system("cannot install a signal handler", errno);
  }
  return {};
}

void accept_only_wake() noexcept {
  sigset_t set = engine::signals_from_outside();
  sigdelset(&set, wake_signal());
  pthread_sigmask(SIG_SETMASK, &set, nullptr);
}

}  // namespace

SessionWorkers::SessionWorkers(fuse_session* session)
    : session_(session), ended_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

SessionWorkers::~SessionWorkers() {
  stop();
  if (ended_fd_ >= 0) ::close(ended_fd_);
}

engine::Result<void> SessionWorkers::start(unsigned count, bool writes) {
  if (ended_fd_ < 0) return engine::Error::system("cannot make an event descriptor", EMFILE);
  if (auto installed = install_wake_handler(); !installed.ok()) return installed;
  try {
    threads_.reserve(count);
    for (unsigned i = 0; i < count; ++i) {
      {
        const std::lock_guard lock(mutex_);
        ++running_;
      }
      try {
        threads_.emplace_back([this, writes] { run(writes); });
      } catch (...) {
        const std::lock_guard lock(mutex_);
        --running_;
        throw;
      }
    }
  } catch (const std::system_error& error) {
    stop();
    return engine::Error::system("cannot start a thread", error.code().value());
  } catch (const std::bad_alloc&) {
    stop();
    return engine::Error::system("cannot start a thread", ENOMEM);
  }
  return {};
}

void SessionWorkers::run(bool writes) noexcept {
  accept_only_wake();
  // A file system on a loop device on this session: when memory is short the kernel writes dirty
  // pages through us, and we must not wait for that very write when we allocate. Root only; others
  // have no loop devices.
  if (writes) prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  try {
    const WorkerBuffer buffer;
    serve();
  } catch (const std::bad_alloc&) {
    std::fputs("fuse: no memory for a worker; the directory is given up\n", stderr);
  }
  if (!stopping_.load(std::memory_order_acquire)) {
    fuse_session_exit(session_);
    eventfd_write(ended_fd_, 1);
  }
  const std::lock_guard lock(mutex_);
  --running_;
  left_.notify_all();
}

void SessionWorkers::serve() noexcept {
  fuse_buf request{};
  while (!stopping_.load(std::memory_order_acquire) && fuse_session_exited(session_) == 0) {
    const int received = fuse_session_receive_buf(session_, &request);
    if (received == -EINTR || received == -EAGAIN) continue;
    if (received <= 0) break;
    fuse_session_process_buf(session_, &request);
  }
  std::free(request.mem);
}

void SessionWorkers::stop() noexcept {
  stopping_.store(true, std::memory_order_release);
  {
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      for (std::thread& thread : threads_) {
        pthread_kill(thread.native_handle(), wake_signal());
      }
      left_.wait_for(lock, std::chrono::milliseconds(10));
    }
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace latchkey::frontends
