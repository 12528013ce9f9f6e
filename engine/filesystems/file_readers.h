// One reader a family of file systems, behind read_file(). Internal to this folder.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "engine/filesystems/bounded_reader.h"
#include "engine/result.h"

namespace latchkey::engine {

using FileBytes = std::optional<std::vector<std::byte>>;

// ext_file.cc
Result<FileBytes> read_ext_file(BoundedReader& reader, const std::string& path);
// xfs_file.cc
Result<FileBytes> read_xfs_file(BoundedReader& reader, const std::string& path);

// read_file.cc: refusals that both have.
Error not_a_regular_file();
Error file_too_large(std::uint64_t size_bytes);

}  // namespace latchkey::engine
