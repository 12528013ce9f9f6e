// Files this program makes: mode 0600, never over one that is there, and synced.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/unique_fd.h"

namespace latchkey::tools {

// kRefused where something of that name exists; kSystem. What was begun is removed on an error.
engine::Result<void> write_new_file(const std::string& path, engine::Bytes bytes);

// A file under a name of its own beside `path`, synced, that is gone again unless it is moved
// there.
class TemporaryFile {
 public:
  static engine::Result<TemporaryFile> make(const std::string& path, engine::Bytes bytes);
  TemporaryFile(TemporaryFile&& other) noexcept
      : fd_(std::move(other.fd_)), name_(std::exchange(other.name_, {})) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();

  // kRefused where something has that name and it is not to be replaced.
  engine::Result<void> move_to(const std::string& path, bool replace);
  int fd() const noexcept { return fd_.get(); }
  engine::UniqueFd take_fd() { return std::move(fd_); }

 private:
  TemporaryFile() = default;
  engine::UniqueFd fd_;
  std::string name_;
};

// The same, also where there is one already: that one stays whole until the new one is.
engine::Result<void> replace_file(const std::string& path, engine::Bytes bytes);

// Files made for something that is not there yet: removed again unless keep() is said.
class MadeFiles {
 public:
  MadeFiles() = default;
  ~MadeFiles();
  MadeFiles(const MadeFiles&) = delete;
  MadeFiles& operator=(const MadeFiles&) = delete;

  void add(std::string path) { paths_.push_back(std::move(path)); }
  void keep() { paths_.clear(); }

 private:
  std::vector<std::string> paths_;
};

// The folder a name is in, synced: the name itself outlives a power cut then.
engine::Result<void> sync_folder_of(const std::string& path);

}  // namespace latchkey::tools
