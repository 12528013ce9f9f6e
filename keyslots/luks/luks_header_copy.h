// Headers of LUKS volumes as files: `latchkey header backup`, `restore`. A backup is what
// cryptsetup luksHeaderBackup writes: every byte from the start of the volume to the end of its key
// slots.
//
// Restoring over a header that can still be used is done like changing keys (luks_keyslots.h): at
// each instant the volume opens with the keys it had or with those of the backup. Key material that
// would lie over material still in use goes to a free place, as the header then says. Where the
// present header cannot be used, it is written in place; where there is no room, or the two are not
// laid out alike, only if that is allowed, since a power cut would then leave neither. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/result.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

// Header and key slots, bytes from the start of the device. kDamaged: no header that can be used.
engine::Result<std::uint64_t> luks_header_extent(engine::BlockDevice& device);

// The header and its key slots, and at least so many bytes, where there are as many. Of a header
// that cannot be used, as much as any would take.
engine::Result<std::vector<std::byte>> read_luks_header_place(engine::BlockDevice& device,
                                                              std::uint64_t at_least_bytes = 0);

// In what a backup does not belong to a volume, one phrase each: another UUID, key size, cipher,
// payload offset. Empty: it does.
std::vector<std::string> why_backup_differs(const VolumeFacts& present, const VolumeFacts& backup);

// The same for what only the headers themselves tell: that the volume's key is another one since
// (it was re-encrypted), or that one of them is of a volume under re-encryption. Only of headers
// that can be used.
std::vector<std::string> why_backup_keys_differ(engine::BlockDevice& present, engine::Bytes backup);

// Would restore_luks_header() refuse? The same errors; nothing is written.
engine::Result<void> check_luks_restore(engine::BlockDevice& device, engine::Bytes backup,
                                        bool in_place);

// `backup` is a whole backup, at least as long as its own header says. kDamaged: it holds no header
// that can be used; kUsage: the device is too small for it; kRefused: it could only be written in
// place of a header that can be used, and `in_place` does not allow that; kSystem.
engine::Result<void> restore_luks_header(engine::BlockDevice& device, engine::Bytes backup,
                                         bool in_place);

// Internal: the two formats. Either the device is written, or only looked at.
enum class RestoreStep { kCheck, kWrite };
engine::Result<void> restore_luks1_header(engine::BlockDevice& device, engine::BlockDevice& backup,
                                          bool in_place, RestoreStep step);
engine::Result<void> restore_luks2_header(engine::BlockDevice& device, engine::BlockDevice& backup,
                                          bool in_place, RestoreStep step);
// kRefused: in place of a header that can be used, because of `why`.
engine::Error restored_in_place(const std::string& why);

}  // namespace latchkey::keyslots
