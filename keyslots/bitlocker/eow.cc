#include "keyslots/bitlocker/eow.h"

#include <string_view>

#include "engine/read_bytes.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

// Refuses wherever there is a recording: its content cannot be read yet, and guessing would give
// wrong data.
Result<std::optional<EowState>> read_eow(engine::BlockDevice& volume,
                                         const std::array<std::uint64_t, 2>& information,
                                         std::uint32_t /*sector_bytes*/,
                                         engine::Notices& /*notices*/) {
  using namespace std::string_view_literals;
  constexpr std::string_view kSignature = "FVE-EOW\0"sv;
  for (const std::uint64_t offset : information) {
    std::array<std::byte, kSignature.size()> bytes{};
    if (!volume.in_range(offset, bytes.size())) continue;
    if (auto done = engine::read_bytes(volume, offset, bytes, "conversion record"); !done) {
      return std::move(done).error();
    }
    if (engine::starts_with(bytes, 0, kSignature)) {
      return Error(ErrorCode::kNotSupported,
                   "its conversion is recorded chunk by chunk (encrypt-on-write), which cannot be "
                   "read yet");
    }
  }
  return std::optional<EowState>();
}

}  // namespace latchkey::keyslots
