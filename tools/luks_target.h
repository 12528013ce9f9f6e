// The one LUKS volume that `key` and `header` work on, out of an image that may hold several.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/result.h"
#include "keyslots/luks/luks_keyslots.h"
#include "keyslots/unlock.h"
#include "tools/image.h"
#include "tools/key_options.h"

namespace latchkey::tools {

struct TargetOptions {
  std::string image;
  std::optional<unsigned> partition;
};

void add_target_options(CLI::App& command, TargetOptions& options);

struct LuksTarget {
  std::unique_ptr<Image> image;
  Region* region = nullptr;         // in `image`
  engine::DevicePtr header_device;  // what is read, and written where that was asked for

  const keyslots::VolumeHeader& header() const { return *region->volume->header; }
  std::string name() const;  // "disk.vhd", "disk.vhd p2"
};

enum class TargetUse { kRead, kWrite };

// The volume that is meant: that of --partition, else the only encrypted one. Errors: kUsage
// (several, none), kNotSupported (BitLocker's), kDamaged (its header cannot be used; for `header
// check` and `repair`, which want it anyway, see find_header_place()), kSystem.
engine::Result<LuksTarget> find_luks_target(const TargetOptions& options,
                                            const std::string& header_path, TargetUse use);

// As above, but the header may be in any state, or be gone: `region->volume` may be empty.
engine::Result<LuksTarget> find_header_place(const TargetOptions& options,
                                             const std::string& header_path, TargetUse use);

// The keys that were given or, where none were, typed; three tries. `kept` gets what was read or
// typed, where it opened the volume: no file and no person is asked twice.
engine::Result<keyslots::OpenedKeys> open_target(const LuksTarget& target,
                                                 const KeyOptions& options,
                                                 const keyslots::UnlockOptions& unlock,
                                                 keyslots::KeyRing* kept = nullptr);

}  // namespace latchkey::tools
