// Image formats that are known by their magic numbers and not opened: naming one is the difference
// between a clear refusal and wrong data presented as a raw disk.
#pragma once

#include <optional>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::engine {

// How much of the start of a file the magic numbers need.
inline constexpr std::size_t kForeignProbeBytes = 512;

// kNotSupported with the format's name, where `head` (the first bytes of the file, as many as there
// are up to kForeignProbeBytes) is that of a known format.
std::optional<Error> refuse_foreign_format(Bytes head);

}  // namespace latchkey::engine
