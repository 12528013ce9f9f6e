// Byte counts as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latchkey::tools {

// "10.0 GiB", "512 bytes".
std::string human_size(std::uint64_t bytes);

// "4096", "64K", "4GiB", "4G": whole numbers, powers of 1024. Empty for anything else.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace latchkey::tools
