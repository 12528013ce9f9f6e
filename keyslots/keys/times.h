// Dates as key files and vaults write them. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latchkey::keyslots {

// "2025-09-13 14:00:16", UTC; empty where the year has not four digits.
std::string time_text(std::int64_t unix_seconds);

// Seconds since 1970 out of "2025-09-13T14:00:16+00:00" (also with a fraction, Z, or no zone: UTC),
// "/Date(1588096321000)/" (Windows PowerShell) or a number. Nothing for what is none of them.
std::optional<std::int64_t> parse_time(std::string_view text);

}  // namespace latchkey::keyslots
