#include "frontends/fuse/export_directory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "frontends/fuse/requests.h"
#include "frontends/fuse/session_workers.h"

namespace latchkey::frontends {
namespace {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

// libfuse prints its errors. While a session is made or ended they belong into our own message (or
// nowhere); at any other time they go to stderr as libfuse would do it.
class LogCapture {
 public:
  LogCapture() {
    static std::once_flag once;
    std::call_once(once, [] { fuse_set_log_func(&LogCapture::take); });
    const std::lock_guard lock(mutex());
    current() = this;
  }
  ~LogCapture() {
    const std::lock_guard lock(mutex());
    current() = nullptr;
  }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // The first line, without libfuse's "fuse: ".
  std::string text() const {
    const std::lock_guard lock(mutex());
    std::string line = text_.substr(0, text_.find('\n'));
    if (line.rfind("fuse: ", 0) == 0) line.erase(0, 6);
    return engine::printable(line);
  }

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static LogCapture*& current() {
    static LogCapture* one = nullptr;
    return one;
  }
  static void take(fuse_log_level /*level*/, const char* format, va_list arguments) {
    std::array<char, 512> line{};
    std::vsnprintf(line.data(), line.size(), format, arguments);
    const std::lock_guard lock(mutex());
    if (current() != nullptr) {
      current()->text_ += line.data();
    } else {
      std::fputs(line.data(), stderr);
    }
  }

  std::string text_;
};

// In a mount option a comma or a backslash would end or quote the value.
std::string option_value(std::string text) {
  text = engine::printable(text);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == ',' || c == '\\'; }, '_');
  return text;
}

bool any_writable(const ExportList& exports) {
  return std::any_of(exports.exports.begin(), exports.exports.end(),
                     [](const Export& one) { return one.device->writable(); });
}

std::string mount_options(const ExportList& exports, const DirectoryOptions& options) {
  const bool writable = any_writable(exports);
  return fmt::format(
      "{},nosuid,nodev,noexec,noatime,default_permissions{},max_read={},subtype={},"
      "fsname={}",
      writable ? "rw" : "ro", options.allow_other ? ",allow_other" : "", kMaxTransferBytes,
      "latchkey", option_value(options.source));
}

Result<void> fuse_usable() {
  if (access("/dev/fuse", R_OK | W_OK) == 0) return {};
  const int reason = errno;
  auto error = Error::system("cannot use /dev/fuse", reason);
  if (reason == ENOENT) return std::move(error).with_hint("load the kernel module: modprobe fuse");
  if (reason == EACCES) {
    return std::move(error).with_hint("run the command with sudo, or ask for access to /dev/fuse");
  }
  return error;
}

Error mount_failure(const std::string& directory, const LogCapture& log) {
  std::string said = log.text();
  Error error(ErrorCode::kSystem, fmt::format("cannot mount FUSE on {}{}{}", directory,
                                              said.empty() ? "" : ": ", said));
  if (geteuid() != 0 && access("/usr/bin/fusermount3", X_OK) != 0 &&
      access("/bin/fusermount3", X_OK) != 0) {
    return std::move(error).with_hint("an ordinary user needs fusermount3: apt-get install fuse3");
  }
  return error;
}

// Runs `fusermount3 -uz`, the way for an ordinary user to unmount. False: it could not.
bool fusermount_detach(const std::string& directory) {
  std::array<const char*, 6> arguments = {"fusermount3",     "-u",   "-z", "--",
                                          directory.c_str(), nullptr};
  pid_t child = -1;
  if (posix_spawnp(&child, "fusermount3", nullptr, nullptr,
                   const_cast<char* const*>(arguments.data()), environ) != 0) {
    return false;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

class ExportDirectory::Session {
 public:
  Session(std::string directory, ExportList exports) : directory_(std::move(directory)) {
    served_.list = std::move(exports);
    served_.arrange();
    for (const Export& one : served_.list.exports) {
      served_.allocated_bytes.push_back(count_allocated(*one.device));
    }
    served_.owner = geteuid();
    served_.group = getegid();
    clock_gettime(CLOCK_REALTIME, &served_.mounted_at);
  }
  ~Session() {
    if (auto closed = close(); !closed.ok()) return;  // close() is where the result is looked at
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> open(const DirectoryOptions& options) {
    if (auto usable = fuse_usable(); !usable.ok()) return usable;
    const LogCapture log;
    served_.page_cache = options.page_cache && !any_writable(served_.list);
    const std::string joined = mount_options(served_.list, options);
    std::array<char*, 4> arguments = {const_cast<char*>("latchkey"), const_cast<char*>("-o"),
                                      const_cast<char*>(joined.c_str()), nullptr};
    fuse_args parsed = FUSE_ARGS_INIT(3, arguments.data());
    const auto& operations = export_operations();
    session_ = fuse_session_new(&parsed, &operations, sizeof operations, &served_);
    fuse_opt_free_args(&parsed);
    if (session_ == nullptr) return mount_failure(directory_, log);
    if (fuse_session_mount(session_, directory_.c_str()) != 0) {
      return mount_failure(directory_, log);
    }
    mounted_ = true;
    if (auto ready = prepare_read_ahead(); !ready.ok()) return ready;
    workers_ = std::make_unique<SessionWorkers>(session_);
    const unsigned per_machine = 2 * std::max(1U, std::thread::hardware_concurrency());
    const unsigned count =
        options.workers != 0 ? options.workers : std::clamp(per_machine, 4U, 16U);
    return workers_->start(count, any_writable(served_.list));
  }

  Ending wait(int stop_fd) {
    std::array<pollfd, 2> descriptors = {pollfd{workers_->ended_fd(), POLLIN, 0},
                                         pollfd{stop_fd, POLLIN, 0}};
    while (true) {
      const int ready = poll(descriptors.data(), descriptors.size(), -1);
      if (ready < 0) continue;  // EINTR: the only error possible with valid descriptors
      if (descriptors[0].revents != 0) return Ending::kUnmounted;
      if (descriptors[1].revents != 0) return Ending::kStopRequested;
    }
  }

  Result<void> hide() {
    if (umount2(directory_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
    const int reason = errno;
    if (reason == EPERM && fusermount_detach(directory_)) return {};
    return Error::system(fmt::format("cannot detach {}", directory_), reason);
  }

  Result<void> close() {
    if (closed_) return {};
    closed_ = true;
    if (workers_) workers_->stop();
    served_.read_ahead = nullptr;
    read_ahead_.reset();
    if (session_ != nullptr) {
      const LogCapture log;  // "not mounted": somebody else has just unmounted, or hide() did
      if (mounted_) fuse_session_unmount(session_);
      fuse_session_destroy(session_);
      session_ = nullptr;
    }
    return flush_all();
  }

 private:
  // The kernel reads ahead itself where it caches.
  Result<void> prepare_read_ahead() {
    if (served_.page_cache || any_writable(served_.list)) return {};
    try {
      served_.read_ahead = &read_ahead_.emplace();
    } catch (const std::system_error& error) {
      return Error::system("cannot start a thread", error.code().value());
    } catch (const std::bad_alloc&) {
      return Error::system("cannot start a thread", ENOMEM);
    }
    return {};
  }

  // All of them, also after one has failed: they may live on different files.
  Result<void> flush_all() {
    constexpr const char* kWhatToDo =
        "check the storage the image is on, then the file system in the image";
    Result<void> outcome;
    for (const Export& one : served_.list.exports) {
      if (!one.device->writable()) continue;
      const auto status = one.device->flush();
      if (status.ok() || !outcome.ok()) continue;
      outcome =
          Error::system(
              fmt::format("{}: what was written may not be in the image: flush failed", one.name),
              status.sys_errno())
              .with_hint(kWhatToDo);
    }
    const auto lost = served_.lost_writes.load();
    if (outcome.ok() && lost > 0) {
      outcome = Error(ErrorCode::kSystem,
                      fmt::format("{} failed: not everything that was written is in the image",
                                  lost == 1 ? "a write" : fmt::format("{} writes", lost)))
                    .with_hint(kWhatToDo);
    }
    return outcome;
  }

  const std::string directory_;
  ServedExports served_;
  std::optional<ReadAhead> read_ahead_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  bool closed_ = false;
  std::unique_ptr<SessionWorkers> workers_;
};

ExportDirectory::ExportDirectory(std::unique_ptr<Session> session) : session_(std::move(session)) {}
ExportDirectory::~ExportDirectory() = default;

Result<std::unique_ptr<ExportDirectory>> ExportDirectory::mount(const std::string& directory,
                                                                ExportList exports,
                                                                const DirectoryOptions& options) {
  auto session = std::make_unique<Session>(directory, std::move(exports));
  if (auto opened = session->open(options); !opened.ok()) return std::move(opened).error();
  return std::unique_ptr<ExportDirectory>(new ExportDirectory(std::move(session)));
}

ExportDirectory::Ending ExportDirectory::wait(int stop_fd) {
  return session_->wait(stop_fd);
}
Result<void> ExportDirectory::hide() {
  return session_->hide();
}
Result<void> ExportDirectory::close() {
  return session_->close();
}

}  // namespace latchkey::frontends
