#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/unique_fd.h"
#include "frontends/fuse/export_directory.h"
#include "tools/bench/layers.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::Result;
using engine::UniqueFd;
using frontends::ExportDirectory;

namespace {

constexpr const char* kFileName = "volume";

Result<void> read_fully(int fd, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return Error::system(
          fmt::format("fuse: cannot read {} bytes at byte {}", into.size(), offset),
          n < 0 ? errno : EIO);
    }
    offset += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

class FuseLayer final : public Layer {
 public:
  FuseLayer(std::string mount_point, const Range& range)
      : mount_point_(std::move(mount_point)), range_(range) {}
  ~FuseLayer() override {
    file_ = UniqueFd();
    directory_.reset();
    (void)rmdir(mount_point_.c_str());
  }

  Result<void> open(engine::DevicePtr device) {
    if (mkdir(mount_point_.c_str(), 0700) != 0) {
      return Error::system("cannot make " + mount_point_, errno);
    }
    frontends::ExportList exports;
    exports.exports.push_back({kFileName, "benchmark", std::move(device)});
    auto mounted = ExportDirectory::mount(mount_point_, std::move(exports), {});
    if (!mounted) return std::move(mounted).error();
    directory_ = std::move(*mounted);
    const std::string file = mount_point_ + "/" + kFileName;
    file_ = UniqueFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (file_.get() < 0) return Error::system("cannot open " + file, errno);
    return {};
  }

  // Nothing of it stays in a page cache: the directory is mounted without.
  Result<Sample> read(const Access& access, const Pace& pace) override {
    return read_range(
        [this](std::uint64_t offset, std::span<std::byte> into) {
          return read_fully(file_.get(), offset, into);
        },
        range_, access, pace);
  }

 private:
  const std::string mount_point_;
  const Range range_;
  std::unique_ptr<ExportDirectory> directory_;
  UniqueFd file_;
};

}  // namespace

Result<std::unique_ptr<Layer>> make_fuse_layer(engine::DevicePtr device, const Range& range,
                                               const std::string& directory) {
  auto layer = std::make_unique<FuseLayer>(directory + "/fuse", range);
  if (auto opened = layer->open(std::move(device)); !opened) return std::move(opened).error();
  return std::unique_ptr<Layer>(std::move(layer));
}

}  // namespace latchkey::tools::bench
