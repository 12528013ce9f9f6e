// A loop device over a file: a block device for the kernel's file system drivers. It detaches by
// itself (LO_FLAGS_AUTOCLEAR) when its last user is gone: this object, then the mounted file
// system. See loop(4).
#pragma once

#include <string>

#include "engine/result.h"

namespace latchkey::tools {

class LoopDevice {
 public:
  // Needs root. Errors: kSystem.
  static engine::Result<LoopDevice> attach(const std::string& file, bool writable);
  LoopDevice(LoopDevice&& other) noexcept;
  LoopDevice& operator=(LoopDevice&&) = delete;
  ~LoopDevice();

  const std::string& path() const noexcept { return path_; }  // "/dev/loop3"

 private:
  LoopDevice(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

}  // namespace latchkey::tools
