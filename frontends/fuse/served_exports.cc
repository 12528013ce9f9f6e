// What a session knows of its exports before the first request.
#include <algorithm>

#include "frontends/fuse/requests.h"

namespace latchkey::frontends {

void ServedExports::arrange() {
  folders.assign(1, ServedFolder{});
  file_names.clear();
  for (std::size_t i = 0; i < list.exports.size(); ++i) {
    const std::string& name = list.exports[i].name;
    const std::size_t slash = name.find('/');
    file_names.push_back(slash == std::string::npos ? name : name.substr(slash + 1));
    if (slash == std::string::npos) {
      folders.front().children.push_back(kFirstFileInode + i);
      continue;
    }
    const std::string in = name.substr(0, slash);
    auto folder = std::find_if(folders.begin() + 1, folders.end(),
                               [&](const ServedFolder& one) { return one.name == in; });
    if (folder == folders.end()) {
      const fuse_ino_t inode = kFirstFileInode + list.exports.size() + folders.size() - 1;
      folders.front().children.push_back(inode);
      folder = folders.insert(folders.end(), ServedFolder{in, inode, {}});
    }
    folder->children.push_back(kFirstFileInode + i);
  }
}

std::uint64_t count_allocated(const engine::BlockDevice& device) noexcept {
  // A look at mount time must not take long on an image of many pieces; the rest counts as data.
  constexpr int kMaxExtents = 4096;
  const std::uint64_t end = device.size_bytes();
  std::uint64_t zeros = 0;
  std::uint64_t at = 0;
  for (int i = 0; i < kMaxExtents && at < end; ++i) {
    const engine::Extent extent = device.extent_at(at, end - at);
    if (extent.length == 0) break;
    if (extent.reads_as_zero) zeros += extent.length;
    at += extent.length;
  }
  return end - zeros;
}

}  // namespace latchkey::frontends
