// The binary header of LUKS2 and the choice between its two copies (LUKS2 on-disk format 1.1,
// section 2). A copy counts only if its checksum, its JSON and what the JSON says are all sound; of
// two sound ones the higher sequence number wins. Control plane; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/luks/luks2_metadata.h"

namespace latchkey::keyslots {

struct Luks2Header {
  std::uint64_t header_bytes = 0;  // of one copy
  std::uint64_t sequence = 0;
  std::string label;  // printable
  std::string subsystem;
  std::string uuid;
  Luks2Metadata metadata;
};

// One copy from its bytes: `bytes` is the whole copy, which says it stands at `offset`.
engine::Result<Luks2Header> parse_luks2_copy(engine::Bytes bytes, std::uint64_t offset);

// Nothing where the device has neither copy. kDamaged where there is one but none is sound. What
// was got around is a notice.
engine::Result<std::optional<Luks2Header>> read_luks2_header(engine::BlockDevice& device,
                                                             engine::Notices& notices);

}  // namespace latchkey::keyslots
