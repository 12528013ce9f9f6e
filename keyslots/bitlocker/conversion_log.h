// The log of the chunk that was being converted: what tells, after the power went, which of its
// sectors had been reached.
//
// On the volume: a header of 512 bytes ("OLRDHEVF"), two slots, a copy of the header. A slot is a
// record of 512 bytes, the logged bytes, a copy of the record. The logged bytes are the first 16 of
// each 512-byte sector's ciphertext. Before a chunk is converted it is logged in one slot; when it
// is done the other slot is written as empty, with a higher sequence.
//
// So: the slot with the highest sequence counts. Empty, the log is clean. Else a sector that begins
// with its logged bytes is ciphertext and any other is plain, whichever way the conversion went. A
// slot that was not written to its end says that the chunk was not touched yet, or, where what it
// logs is there, can be settled like any other; if it is the empty one, the chunk in the other slot
// was done. Anything that cannot come from a power cut is kDamaged: a wrong answer would be wrong
// data. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/bitlocker/eow_records.h"

namespace latchkey::keyslots {

inline constexpr std::uint32_t kLoggedSectorBytes = 512;
inline constexpr std::uint32_t kLoggedBytesASector = 16;

struct ConversionLogPlace {
  std::uint64_t offset = 0;  // of the volume
  std::uint32_t size_bytes = 0;
  std::uint32_t slot_bytes = 0;
};

struct LoggedChunk {
  VolumeRange range;                  // whole 512-byte sectors
  std::vector<std::byte> beginnings;  // kLoggedBytesASector each
};

// Absent: the log is clean. kNotSupported where its layout is not the known one. A notice says
// where damage would look the same as a power cut.
engine::Result<std::optional<LoggedChunk>> read_conversion_log(engine::BlockDevice& volume,
                                                               const ConversionLogPlace& place,
                                                               engine::Notices& notices);

// The sectors of the chunk that are plain, as sorted, disjoint ranges. Reads the chunk.
engine::Result<std::vector<VolumeRange>> plain_sectors(engine::BlockDevice& volume,
                                                       const LoggedChunk& chunk);

}  // namespace latchkey::keyslots
