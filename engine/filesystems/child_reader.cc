#include "engine/filesystems/child_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/filesystems/read_file.h"
#include "engine/unique_fd.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kMaxMessageBytes = 1024;
constexpr rlim_t kProcessorSeconds = 30;

// The first byte of an answer; what follows is the file, or the error's message.
enum class Answer : std::uint8_t { kAbsent = 1, kBytes, kDamaged, kNotSupported };

bool write_all(int fd, Bytes bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t done = write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

[[noreturn]] void run_child(int to, const std::function<Result<FileBytes>()>& read) {
  // What a failing library or its allocator says is for nobody; neither is a core.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) dup2(null, STDERR_FILENO);
  const rlimit no_core{0, 0};
  const rlimit processor{kProcessorSeconds, kProcessorSeconds};
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_CPU, &processor);
  const auto result = read();
  Answer answer = Answer::kBytes;
  std::string message;
  if (!result) {
    answer = result.error().code() == ErrorCode::kNotSupported ? Answer::kNotSupported
                                                               : Answer::kDamaged;
    message = result.error().message().substr(0, kMaxMessageBytes);
  } else if (!result->has_value()) {
    answer = Answer::kAbsent;
  }
  const std::array<std::byte, 1> first = {static_cast<std::byte>(answer)};
  const Bytes rest = answer == Answer::kBytes ? Bytes(**result) : as_bytes(message);
  _exit(write_all(to, first) && write_all(to, rest) ? 0 : 1);
}

// Until the other end is closed. False: more than there can be.
bool read_all(int fd, std::vector<std::byte>& out) {
  constexpr std::size_t kMost = kMaxReadFileBytes + 1;
  constexpr std::size_t kStep = std::size_t{1024} * 1024;
  std::size_t used = 0;
  while (used <= kMost) {
    if (out.size() - used < kStep) out.resize(out.size() + kStep);
    const ssize_t got = read(fd, out.data() + used, out.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    used += static_cast<std::size_t>(got);
  }
  out.resize(used);
  return used <= kMost;
}

int wait_for(pid_t child) noexcept {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

}  // namespace

Result<FileBytes> read_in_child(const std::function<Result<FileBytes>()>& read) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error::system("cannot make a pipe", errno);
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Error::system("cannot start a process that reads it", errno);
  if (child == 0) run_child(to.get(), read);
  to = UniqueFd();
  std::vector<std::byte> answer;
  const bool complete = read_all(from.get(), answer);
  if (!complete) kill(child, SIGKILL);
  const int status = wait_for(child);
  if (!complete || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || answer.empty()) {
    return Error(ErrorCode::kDamaged, "the library that reads it gave up: it is damaged");
  }
  const auto kind = static_cast<Answer>(answer.front());
  answer.erase(answer.begin());
  const std::string message(reinterpret_cast<const char*>(answer.data()),
                            std::min(answer.size(), kMaxMessageBytes));
  switch (kind) {
    case Answer::kAbsent:
      return FileBytes();
    case Answer::kBytes:
      return FileBytes(std::move(answer));
    case Answer::kNotSupported:
      return Error(ErrorCode::kNotSupported, printable(message));
    case Answer::kDamaged:
      break;
  }
  return Error(ErrorCode::kDamaged, printable(message));
}

}  // namespace latchkey::engine
