#include "keyslots/keys/key_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

class InputFile {
 public:
  static Result<InputFile> open(const std::string& path) {
    InputFile file(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC),
                   path != "-");
    if (file.fd_ < 0) return Error::system("cannot open " + path, errno);
    struct stat about {};
    if (fstat(file.fd_, &about) == 0 && S_ISDIR(about.st_mode)) {
      return Error(ErrorCode::kUsage, path + " is a directory, not a key");
    }
    return file;
  }
  InputFile(InputFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), owned_(other.owned_) {}
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile() {
    if (owned_ && fd_ >= 0) close(fd_);
  }

  // As much as there is, up to the size of `into`; negative with errno on failure.
  ssize_t read(engine::MutableBytes into) const {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::read(fd_, into.data() + done, into.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return -1;
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return static_cast<ssize_t>(done);
  }

 private:
  InputFile(int fd, bool owned) noexcept : fd_(fd), owned_(owned) {}
  int fd_;
  bool owned_;
};

std::string quoted(const std::string& path) {
  return "'" + path + "'";
}

// Reads on until `at_most` bytes, the end, or (where asked) the end of the first line.
Result<SecretBytes> read_bytes(const InputFile& file, const std::string& path,
                               std::uint64_t at_most, bool first_line_only) {
  SecretBytes bytes(4096);
  std::size_t used = 0;
  for (;;) {
    if (used == bytes.size()) {
      SecretBytes larger(bytes.size() * 4);
      std::memcpy(larger.data(), bytes.data(), used);
      bytes = std::move(larger);
    }
    // A line is read byte by byte: what follows it on standard input belongs to somebody else.
    const std::size_t wanted =
        first_line_only ? 1 : std::min<std::uint64_t>(bytes.size() - used, at_most - used);
    const ssize_t n = file.read(bytes.span().subspan(used, wanted));
    if (n < 0) return Error::system("cannot read " + path, errno);
    used += static_cast<std::size_t>(n);
    const bool line_ended =
        first_line_only && used > 0 && bytes.data()[used - 1] == std::byte{'\n'};
    if (static_cast<std::size_t>(n) < wanted || used >= at_most || line_ended) break;
  }
  bytes.truncate(used);
  return bytes;
}

Result<void> skip(const InputFile& file, const std::string& path, std::uint64_t count) {
  SecretBytes buffer(std::size_t{64} * 1024);
  while (count > 0) {
    const std::size_t piece = std::min<std::uint64_t>(count, buffer.size());
    const ssize_t n = file.read(buffer.span().first(piece));
    if (n < 0) return Error::system("cannot read " + path, errno);
    if (static_cast<std::size_t>(n) < piece) {
      return Error(ErrorCode::kUsage, path + " ends before --key-file-offset");
    }
    count -= piece;
  }
  return {};
}

}  // namespace

Result<Secret> read_key_file(const std::string& path, std::uint64_t offset,
                             std::optional<std::uint64_t> length_bytes) {
  auto file = InputFile::open(path);
  if (!file) return std::move(file).error();
  if (auto skipped = skip(*file, path, offset); !skipped) return std::move(skipped).error();
  const std::uint64_t limit = length_bytes.value_or(kMaxKeyFileBytes + 1);
  if (length_bytes && (*length_bytes == 0 || *length_bytes > kMaxKeyFileBytes)) {
    return Error(ErrorCode::kUsage, "--key-file-size must be 1 byte to 8 MiB");
  }
  auto bytes = read_bytes(*file, path, limit, false);
  if (!bytes) return std::move(bytes).error();
  if (bytes->empty()) return Error(ErrorCode::kUsage, "key file " + path + " is empty");
  if (bytes->size() > kMaxKeyFileBytes) {
    const bool disk = offset == 0 && engine::starts_with(bytes->span(), 510, "\x55\xAA");
    return Error(ErrorCode::kUsage, path + " is larger than 8 MiB: not a key file")
        .with_hint(disk ? "it looks like a disk: latchkey mount " + path +
                              " DIR, then --key DIR takes the BEK files in it"
                        : "a part of it can be used: --key-file-offset N --key-file-size N");
  }
  if (length_bytes && bytes->size() < *length_bytes) {
    return Error(ErrorCode::kUsage, path + " is shorter than --key-file-size asks for");
  }
  return Secret{SecretKind::kKeyFile, std::move(*bytes), "key file " + quoted(path)};
}

Result<Secret> read_passphrase_file(const std::string& path) {
  auto file = InputFile::open(path);
  if (!file) return std::move(file).error();
  auto bytes = read_bytes(*file, path, kMaxKeyFileBytes, true);
  if (!bytes) return std::move(bytes).error();
  bytes->truncate(without_line_end(bytes->span()).size());
  const std::string from = path == "-" ? "standard input" : quoted(path);
  if (bytes->empty()) {
    return Error(ErrorCode::kUsage, "the first line of " + from + " is empty: no passphrase");
  }
  return Secret{SecretKind::kPassphrase, std::move(*bytes), "passphrase from " + from};
}

}  // namespace latchkey::keyslots
