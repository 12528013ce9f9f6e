// Where a copy goes: a file (raw, fixed or dynamic VHD), a block device or an NBD server, plain or
// as a new LUKS volume.
//
//   plan_target()    what OUT will be; refuses before anything is changed
//   make_target()    makes it
//   reopen_target()  a copy that is there, to go on with it or to verify it
//
// Control plane, one thread; the device that comes out is thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/block_device.h"
#include "engine/file_device.h"
#include "engine/result.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/secret.h"
#include "tools/copy/copy_job.h"
#include "tools/new_image.h"
#include "tools/new_volume.h"

namespace latchkey::tools {

struct CopyTargetOptions {
  std::string out;
  std::string format;  // "raw", "vhd", "vhd-dynamic"; empty: what OUT's name says
  bool encrypt = false;
  NewVolumeOptions volume;
  bool force = false;
  bool resume = false;
  unsigned connections = 1;  // to an NBD server, at most
};

enum class TargetKind { kFile, kBlockDevice, kNbd };

TargetKind kind_of_target(const std::string& out);
// "luks2 aes-xts-plain64 512 ...": what must be the same when a copy is gone on with.
std::string volume_wish(const CopyTargetOptions& options);
// "raw", "vhd", "vhd-dynamic": what was asked for, else what the name says; see container_of().
engine::Result<std::string> format_of_target(const CopyTargetOptions& options);

struct TargetPlan {
  CopyTargetOptions options;
  TargetKind kind = TargetKind::kFile;
  std::string format;            // of OUT
  std::uint64_t bytes = 0;       // of the plaintext
  std::uint64_t disk_bytes = 0;  // of OUT's disk
  // An NBD server's disk. One connection from here to the end: some servers leave with their
  // client.
  engine::DevicePtr server;
  bool resumes = false;                             // OUT is there and is gone on with
  std::optional<keyslots::LuksFormatOptions> luks;  // of a volume that is to be made

  bool is_file() const noexcept { return kind == TargetKind::kFile; }
};

struct CopyTarget {
  engine::DevicePtr device;  // takes the plaintext; as long as that, or longer
  ZeroWrites zeroes = ZeroWrites::kDiscard;
  std::string volume;  // "LUKS2 ..." where one was made
};

// `unfinished`: OUT is known to be a copy that was begun. Errors: kRefused (OUT is there and may
// not be overwritten; it is too small), kUsage, kSystem, kNotSupported.
engine::Result<TargetPlan> plan_target(const CopyTargetOptions& options, std::uint64_t bytes,
                                       bool unfinished);

// `secret`: the new volume's, null without one. A file that is made is added to `made_files`.
engine::Result<CopyTarget> make_target(const TargetPlan& plan, const keyslots::Secret* secret,
                                       MadeFiles& made_files);

engine::Result<CopyTarget> reopen_target(const TargetPlan& plan, const keyslots::Secret* secret,
                                         engine::Access access);

}  // namespace latchkey::tools
