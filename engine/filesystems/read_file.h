// The bytes of one file in a clear ext2, ext3, ext4 or xfs file system: how the detached header of
// an encrypted root partition is lifted out of /boot.
//
// Read-only and without mounting: libext2fs and libfsxfs read through the BlockDevice. A journal
// that waits is not replayed, so a file that changed just before a crash may be an older one.
// A file system made in bad faith can neither keep the libraries busy for ever, for what they read
// is bounded, nor break this process: they run in a child (child_reader.h). No exceptions; to be
// called while there is one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block_device.h"
#include "engine/result.h"

namespace latchkey::engine {

inline constexpr std::size_t kMaxReadFileBytes = std::size_t{64} * 1024 * 1024;

// `type` as identify_content() names it. Can read_file() read such a file system?
bool can_read_files_of(std::string_view type) noexcept;

// `path` from the root of the file system, without a leading '/': "luks/osluksheader". Nothing
// where there is no such file. Errors: kDamaged (the file system cannot be read, or not so far),
// kNotSupported (not a regular file, a file of more than kMaxReadFileBytes, another file system),
// kSystem (no child process).
Result<std::optional<std::vector<std::byte>>> read_file(BlockDevice& device, std::string_view type,
                                                        const std::string& path);

}  // namespace latchkey::engine
