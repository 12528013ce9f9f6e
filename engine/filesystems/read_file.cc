#include "engine/filesystems/read_file.h"

#include <fmt/format.h>

#include "engine/filesystems/child_reader.h"
#include "engine/filesystems/file_readers.h"

namespace latchkey::engine {

Error not_a_regular_file() {
  return {ErrorCode::kNotSupported, "it is not a regular file"};
}

Error file_too_large(std::uint64_t size_bytes) {
  return {ErrorCode::kNotSupported, fmt::format("it has {} bytes, more than the {} that are read",
                                                size_bytes, kMaxReadFileBytes)};
}

bool can_read_files_of(std::string_view type) noexcept {
  return type == "ext2" || type == "ext3" || type == "ext4" || type == "xfs";
}

Result<FileBytes> read_file(BlockDevice& device, std::string_view type, const std::string& path) {
  if (!can_read_files_of(type)) {
    return Error(ErrorCode::kNotSupported, fmt::format("files of {} cannot be read", type));
  }
  auto bytes = read_in_child([&]() -> Result<FileBytes> {
    BoundedReader reader(device);
    auto read = type == "xfs" ? read_xfs_file(reader, path) : read_ext_file(reader, path);
    if (!read && reader.exhausted()) {
      return Error(ErrorCode::kDamaged, "its metadata lead nowhere: too much had to be read");
    }
    return read;
  });
  if (!bytes) return std::move(bytes).error().within(path);
  return bytes;
}

}  // namespace latchkey::engine
