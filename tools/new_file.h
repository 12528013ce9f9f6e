// Files this program makes: mode 0600, never over one that is there, and synced.
#pragma once

#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::tools {

// kRefused where something of that name exists; kSystem. What was begun is removed on an error.
engine::Result<void> write_new_file(const std::string& path, engine::Bytes bytes);

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
