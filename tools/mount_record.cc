#include "tools/mount_record.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// Fields end with a NUL, which no path contains.
constexpr char kEnd = '\0';
constexpr std::size_t kMaxRecordBytes = std::size_t{64} * 1024;
constexpr const char* kRecordName = "/record";
constexpr std::chrono::milliseconds kPoll{20};

std::string base_folder() {
  if (geteuid() == 0) return "/run/latchkey";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && access(runtime, W_OK | X_OK) == 0) {
    return std::string(runtime) + "/latchkey";
  }
  return fmt::format("/tmp/latchkey-{}", geteuid());
}

// /tmp is everybody's: a folder that somebody else made there is not used.
Result<std::string> own_base_folder() {
  std::string base = base_folder();
  if (mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) {
    return Error::system("cannot make " + base, errno);
  }
  struct stat about {};
  if (lstat(base.c_str(), &about) != 0) return Error::system("cannot use " + base, errno);
  if (!S_ISDIR(about.st_mode) || about.st_uid != geteuid() || (about.st_mode & 022) != 0) {
    return Error(ErrorCode::kSystem, base + " is not a directory that only you can write")
        .with_hint("remove it, or set XDG_RUNTIME_DIR");
  }
  return base;
}

std::vector<std::string> fields_of(int fd) {
  std::vector<char> text(kMaxRecordBytes);
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  std::vector<std::string> fields;
  std::string field;
  for (ssize_t i = 0; i < got; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    if (c != kEnd) {
      field += c;
      continue;
    }
    fields.push_back(std::move(field));
    field.clear();
  }
  return fields;
}

void append(int fd, const std::string& text) noexcept {
  // A record that could not be completed reads as that of a killed server, which it then is like.
  const ssize_t written = write(fd, text.data(), text.size());
  static_cast<void>(written);
}

void remove_folder(const std::string& folder) noexcept {
  unlink((folder + kRecordName).c_str());
  rmdir((folder + "/image").c_str());
  rmdir(folder.c_str());
}

}  // namespace

MountRecord::MountRecord(std::string folder, int fd)
    : folder_(std::move(folder)), hidden_(folder_ + "/image"), fd_(fd) {}

Result<std::unique_ptr<MountRecord>> MountRecord::create(const MountFacts& facts) {
  auto base = own_base_folder();
  if (!base.ok()) return std::move(base).error();
  std::string folder = *base + "/XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return Error::system("cannot make " + folder, errno);
  const std::string path = folder + kRecordName;
  const int fd = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) {
    const int reason = errno;
    remove_folder(folder);
    return Error::system("cannot make " + path, reason);
  }
  std::unique_ptr<MountRecord> record(new MountRecord(folder, fd));
  if (mkdir(record->hidden_.c_str(), 0700) != 0 || flock(fd, LOCK_EX) != 0) {
    return Error::system("cannot use " + folder, errno);
  }
  append(fd,
         fmt::format("{}{}{}{}{}{}", facts.server, kEnd, facts.image, kEnd, facts.directory, kEnd));
  return record;
}

MountRecord::~MountRecord() {
  finish({});
}

void MountRecord::finish(const Result<void>& outcome) noexcept {
  if (fd_ < 0) return;
  std::string text = "ended";
  text += kEnd;
  if (!outcome.ok()) {
    for (const std::string& part : {outcome.error().message(), outcome.error().hint()}) {
      text += part;
      text += kEnd;
    }
  }
  append(fd_, text);
  remove_folder(folder_);
  close(std::exchange(fd_, -1));  // releases the lock
}

FoundRecord::FoundRecord(std::string folder, int fd, MountFacts facts)
    : folder_(std::move(folder)), fd_(fd), facts_(std::move(facts)) {}

FoundRecord::FoundRecord(FoundRecord&& other) noexcept
    : folder_(std::move(other.folder_)),
      fd_(std::exchange(other.fd_, -1)),
      facts_(std::move(other.facts_)) {}

FoundRecord& FoundRecord::operator=(FoundRecord&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(fd_, other.fd_);
  std::swap(facts_, other.facts_);
  return *this;
}

FoundRecord::~FoundRecord() {
  if (fd_ >= 0) close(fd_);
}

std::optional<FoundRecord> FoundRecord::of(const std::string& directory) {
  auto base = own_base_folder();
  if (!base.ok()) return std::nullopt;
  std::optional<FoundRecord> newest;
  std::timespec newest_time{};
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(*base, failed)) {
    const std::string folder = entry.path();
    const int fd = open((folder + kRecordName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    MountFacts facts;
    FoundRecord found(folder, fd, facts);
    const auto fields = fields_of(fd);
    struct stat about {};
    if (fields.size() < 3 || fields[2] != directory || fstat(fd, &about) != 0) continue;
    std::from_chars(fields[0].data(), fields[0].data() + fields[0].size(), found.facts_.server);
    found.facts_.image = fields[1];
    found.facts_.directory = fields[2];
    const std::timespec& time = about.st_mtim;
    if (newest &&
        std::pair(time.tv_sec, time.tv_nsec) < std::pair(newest_time.tv_sec, newest_time.tv_nsec)) {
      continue;
    }
    newest = std::move(found);
    newest_time = time;
  }
  return newest;
}

bool FoundRecord::server_is_gone() const noexcept {
  if (flock(fd_, LOCK_SH | LOCK_NB) != 0) return false;
  flock(fd_, LOCK_UN);
  return true;
}

Result<void> FoundRecord::wait(std::chrono::seconds at_most) const {
  const auto end = std::chrono::steady_clock::now() + at_most;
  while (!server_is_gone()) {
    if (std::chrono::steady_clock::now() >= end) {
      return Error(ErrorCode::kSystem,
                   fmt::format("{} is unmounted, but {} is not closed after {} s", facts_.directory,
                               facts_.image, at_most.count()))
          .with_hint(fmt::format("process {} still writes to it, or another mount of it is in use",
                                 facts_.server));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return outcome();
}

Result<void> FoundRecord::outcome() const {
  const auto fields = fields_of(fd_);
  if (fields.size() < 4 || fields[3] != "ended") {
    umount2((folder_ + "/image").c_str(), MNT_DETACH);
    remove_folder(folder_);
    return Error(ErrorCode::kSystem, fmt::format("process {}, which served {}, was killed",
                                                 facts_.server, facts_.image))
        .with_hint("what was written last may be missing: check the file system in the image");
  }
  if (fields.size() < 6) return {};
  Error error(ErrorCode::kSystem, fields[4]);
  if (fields[5].empty()) return error;
  return std::move(error).with_hint(fields[5]);
}

}  // namespace latchkey::tools
