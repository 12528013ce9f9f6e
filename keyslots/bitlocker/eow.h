// Encrypt-on-write: a volume whose conversion is recorded chunk by chunk in bitmaps on the volume
// itself, with a log for the chunk that was being converted when the power went.
//
// Two copies of the information (FVE-EOW) name a bitmap for each region of the volume; each bitmap
// names a log. Structures: eow_records.h; the log: conversion_log.h.
//
// read_eow() says which bytes of the volume are plain and which areas belong to the recording
// itself. It reads the volume's ciphertext only to settle the chunk a log names. Memory and reading
// are bounded whatever the volume claims. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/result.h"
#include "keyslots/bitlocker/eow_records.h"

namespace latchkey::keyslots {

struct EowState {
  // All three: whole sectors, sorted, disjoint, touching ones joined. A volume that is cut short
  // may end before they do.
  std::vector<VolumeRange> plain;    // everything else is ciphertext
  std::vector<VolumeRange> hidden;   // information, bitmaps and logs: they read as zeros
  std::vector<VolumeRange> covered;  // what the bitmaps speak about
  std::uint64_t encrypted_bytes = 0;
  std::uint64_t covered_bytes = 0;  // for "43% encrypted"
};

// `information`: the two places the boot sector or the metadata names. Absent where neither holds
// the signature: the volume is then treated as fully encrypted. kDamaged where the recording is
// there but cannot be trusted, kNotSupported for a form that is not known: never a guess.
engine::Result<std::optional<EowState>> read_eow(engine::BlockDevice& volume,
                                                 const std::array<std::uint64_t, 2>& information,
                                                 std::uint32_t sector_bytes,
                                                 engine::Notices& notices);

}  // namespace latchkey::keyslots
