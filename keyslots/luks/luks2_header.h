// The binary header of LUKS2 and the choice between its two copies (LUKS2 on-disk format 1.1,
// section 2). A copy counts only if its checksum, its JSON and what the JSON says are all sound; of
// two sound ones the higher sequence number wins. Control plane; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
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

// Over the whole of a copy, its checksum field taken as zeros, by the hash it names.
engine::Result<std::vector<std::byte>> luks2_checksum(engine::Bytes copy);

// One of the two copies as it lies on a device.
struct Luks2Copy {
  std::uint64_t offset = 0;
  bool present = false;          // its magic is there
  std::vector<std::byte> bytes;  // the whole copy, where it could be read; else empty
  // Why it is not sound, where it is not.
  engine::Result<Luks2Header> header = engine::Error(engine::ErrorCode::kDamaged, "it is missing");

  bool sound() const { return header.ok(); }
  std::string_view json() const;  // of a sound one; points into `bytes`
};

struct Luks2Copies {
  Luks2Copy first;
  Luks2Copy second;

  // The sound one that counts, or null.
  const Luks2Copy* newest() const;
};

// Judges neither copy by the other, nor whether the device belongs to something else by now.
Luks2Copies read_luks2_copies(engine::BlockDevice& device);

// Does something else begin here: a boot sector, another file system? A second copy alone is also
// what is left on a device that has been given to something else since, so it takes a person to say
// which it is.
bool something_else_begins(engine::BlockDevice& device);
// For such a device: the UUID of the volume whose second copy is sound and whose first is not; else
// empty.
std::string overwritten_luks2(engine::BlockDevice& device);

// Nothing where the device has neither copy. kDamaged where there is one but none is sound. What
// was got around is a notice.
engine::Result<std::optional<Luks2Header>> read_luks2_header(engine::BlockDevice& device,
                                                             engine::Notices& notices);

}  // namespace latchkey::keyslots
