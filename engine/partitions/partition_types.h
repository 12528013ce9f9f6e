// What the types in partition tables are called. Pure, any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace latchkey::engine {

// `guid` in lower case. Empty where unknown.
std::string_view gpt_type_name(std::string_view guid) noexcept;
std::string_view mbr_type_name(std::uint8_t type) noexcept;

}  // namespace latchkey::engine
