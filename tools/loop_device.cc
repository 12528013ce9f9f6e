#include "tools/loop_device.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/unique_fd.h"

namespace latchkey::tools {

using engine::Error;
using engine::Result;

namespace {

// Somebody else may take the free device between asking for it and configuring it.
constexpr int kTries = 32;
// In sectors of 512 bytes: 1 MiB, one FUSE request. The kernel's default of 128 KiB costs eight.
constexpr unsigned long kReadAheadSectors = 2048;

}  // namespace

Result<LoopDevice> LoopDevice::attach(const std::string& file, bool writable) {
  const int mode = writable ? O_RDWR : O_RDONLY;
  const engine::UniqueFd backing(open(file.c_str(), mode | O_CLOEXEC));
  if (backing.get() < 0) return Error::system("cannot open " + file, errno);
  const engine::UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (control.get() < 0) {
    return Error::system("cannot use loop devices: /dev/loop-control", errno)
        .with_hint("load the kernel module: modprobe loop");
  }
  loop_config config{};
  config.fd = static_cast<__u32>(backing.get());
  // Direct: the pages are cached above the loop device, once is enough; and requests are then sent
  // side by side instead of one after the other.
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
  if (!writable) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  for (int i = 0; i < kTries; ++i) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return Error::system("no loop device is free", errno);
    std::string path = fmt::format("/dev/loop{}", number);
    engine::UniqueFd device(open(path.c_str(), mode | O_CLOEXEC));
    if (device.get() < 0) return Error::system("cannot open " + path, errno);
    if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
      ioctl(device.get(), BLKRASET, kReadAheadSectors);  // advice: its failure costs only speed
      return LoopDevice(std::move(path), device.release());
    }
    if (errno != EBUSY) return Error::system("cannot configure " + path, errno);
  }
  return Error::system("no loop device could be had", EBUSY);
}

LoopDevice::LoopDevice(LoopDevice&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

LoopDevice::~LoopDevice() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace latchkey::tools
