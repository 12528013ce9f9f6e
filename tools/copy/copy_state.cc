#include "tools/copy/copy_state.h"

#include <cerrno>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "tools/new_file.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

using StateJson = nlohmann::ordered_json;

constexpr int kStateVersion = 1;
constexpr std::size_t kMaxStateBytes = 64 << 10;

}  // namespace

bool CopyState::same_copy(const CopyState& other) const {
  // Under which name the image is reached may change.
  return image_bytes == other.image_bytes && image_changed_ns == other.image_changed_ns &&
         what == other.what && bytes == other.bytes && format == other.format &&
         volume == other.volume;
}

std::string copy_state_file_of(const std::string& out) {
  return out + ".copying";
}

namespace {

Result<CopyState> parse(const std::string& text, const std::string& path) {
  try {
    const StateJson json = StateJson::parse(text);
    CopyState state;
    if (json.at("version").get<int>() != kStateVersion) throw std::out_of_range("version");
    state.image = json.at("image").get<std::string>();
    state.image_bytes = json.at("image_bytes").get<std::uint64_t>();
    state.image_changed_ns = json.at("image_changed_ns").get<std::int64_t>();
    state.what = json.at("what").get<std::string>();
    state.bytes = json.at("bytes").get<std::uint64_t>();
    state.format = json.at("format").get<std::string>();
    state.volume = json.at("volume").get<std::string>();
    state.made = json.at("made").get<bool>();
    state.copied_below = json.at("copied_below").get<std::uint64_t>();
    if (state.copied_below <= state.bytes) return state;
  } catch (const std::exception&) {  // said below
  }
  return Error(ErrorCode::kDamaged, path + " is not what a copy leaves behind")
      .with_hint("remove it, and copy anew with --force");
}

bool has_name(int fd, const std::string& path) {
  struct stat mine {
  }, named{};
  return fstat(fd, &mine) == 0 && stat(path.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
         mine.st_dev == named.st_dev;
}

}  // namespace

Result<std::optional<CopyState>> CopyMark::open() {
  const std::string path = copy_state_file_of(out_);
  // Whoever holds the lock replaces the file: then it is another one that has to be locked.
  do {
    lock_ = engine::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (lock_.get() < 0) {
      if (errno == ENOENT) return std::optional<CopyState>();
      return Error::system("cannot open " + path, errno);
    }
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return Error(ErrorCode::kRefused, out_ + " is being copied to by another process");
    }
  } while (!has_name(lock_.get(), path));
  std::string text(kMaxStateBytes, '\0');
  const ssize_t length = pread(lock_.get(), text.data(), text.size(), 0);
  if (length < 0) return Error::system("cannot read " + path, errno);
  text.resize(static_cast<std::size_t>(length));
  auto state = parse(text, path);
  if (!state) return std::move(state).error();
  return std::optional(std::move(*state));
}

Result<void> CopyMark::write(const CopyState& state) {
  const StateJson json = {{"version", kStateVersion},
                          {"image", state.image},
                          {"image_bytes", state.image_bytes},
                          {"image_changed_ns", state.image_changed_ns},
                          {"what", state.what},
                          {"bytes", state.bytes},
                          {"format", state.format},
                          {"volume", state.volume},
                          {"made", state.made},
                          {"copied_below", state.copied_below}};
  // A name need not be UTF-8, and need not come back as it was: it is for people.
  const std::string text = json.dump(2, ' ', true, StateJson::error_handler_t::replace) + "\n";
  const std::string path = copy_state_file_of(out_);
  auto file = TemporaryFile::make(path, engine::as_bytes(text));
  if (!file) return std::move(file).error();
  (void)flock(file->fd(), LOCK_EX | LOCK_NB);  // nobody else knows it yet
  if (auto moved = file->move_to(path, there()); !moved) return moved;
  lock_ = file->take_fd();
  return {};
}

void CopyMark::remove() {
  if (there()) (void)unlink(copy_state_file_of(out_).c_str());
  lock_ = {};
}

}  // namespace latchkey::tools
