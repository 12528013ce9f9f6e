// The threads that read requests from one FUSE session and answer them. Internal to this folder.
//
// libfuse's own multi-threaded loop is not used: it ends workers by pthread_cancel, which unwinds
// through C++ frames, and fuse_session_exit() from another thread does not wake it. Here stop()
// interrupts workers blocked in read(2) with a real-time signal whose handler does nothing,
// repeated until each has seen the flag: a signal that arrives just before the read is not lost.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/result.h"
#include "frontends/fuse/requests.h"

namespace latchkey::frontends {

class SessionWorkers {
 public:
  // `session` is borrowed until stop() has returned.
  explicit SessionWorkers(fuse_session* session);
  ~SessionWorkers();  // stop()
  SessionWorkers(const SessionWorkers&) = delete;
  SessionWorkers& operator=(const SessionWorkers&) = delete;

  // `writes`: the kernel may have to write through this session to get memory back.
  engine::Result<void> start(unsigned count, bool writes);

  // Readable once the session has ended by itself: unmounted, and no user left.
  int ended_fd() const noexcept { return ended_fd_; }

  // Waits for requests being worked on, then joins all threads. A second call does nothing.
  void stop() noexcept;

 private:
  void run(bool writes) noexcept;
  void serve() noexcept;

  fuse_session* const session_;
  int ended_fd_ = -1;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable left_;
  unsigned running_ = 0;  // under mutex_
  std::vector<std::thread> threads_;
};

}  // namespace latchkey::frontends
