// Is a LUKS header in order, and can it be put right: `latchkey header check`, `repair`. Needs no
// key. One thread.
#pragma once

#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/luks/luks1_header.h"

namespace latchkey::keyslots {

// Everything that can be said without a key: each copy, whether they agree, and whether the key
// material of each slot looks like what encryption makes. Damage is what keeps a key or the volume
// from opening; a warning is what is in order only because there is a second copy.
void check_luks_header(engine::BlockDevice& device, engine::Notices& findings);

// Where, in bytes, 512-byte sectors begin that no cipher wrote: zeros, text, a file system's
// tables. The measure is the chi-square statistic of the sector's byte values, 255 on average for
// random bytes with a deviation of 23; what is above 600 has been overwritten, 32 equal bytes are
// enough.
std::vector<std::size_t> sectors_not_random(engine::Bytes material);

struct RepairOptions {
  bool device_was_reused = false;  // go on though something else seems to begin here
};

// What a repair would write. In words that are true once it is written.
struct LuksRepair {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
  engine::Notices done;

  bool needed() const noexcept { return !bytes.empty(); }
};

// A LUKS2 copy that is bad, or older, is made anew from the good one; of a LUKS1 header what
// follows from the rest of it. Writes nothing. kDamaged: it cannot be repaired; kRefused: the
// device seems to hold something else by now; kSystem.
engine::Result<LuksRepair> plan_luks_repair(engine::BlockDevice& device,
                                            const RepairOptions& options);
engine::Result<void> carry_out_repair(engine::BlockDevice& device, const LuksRepair& repair);

// The LUKS1 part, on bytes: magic, names in capitals, stripes, slot states and offsets. kDamaged
// where what is left is no header.
engine::Result<std::vector<std::byte>> mended_luks1_header(engine::Bytes header,
                                                           engine::Notices& done);

}  // namespace latchkey::keyslots
