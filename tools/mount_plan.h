// Which of an image's file systems `mount` means, and which driver can mount it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/signatures.h"
#include "frontends/export.h"
#include "tools/image.h"

namespace latchkey::tools {

enum class Driver {
  kKernel,   // through a loop device; needs root
  kNtfs3g,   // ntfs-3g(8)
  kFuse2fs,  // fuse2fs(1), for ordinary users
};

// What the user said to mean; both may be left open.
struct MountChoice {
  std::optional<unsigned> partition;
  std::string volume;  // "rootvg/rootlv", a logical volume
};

struct MountPlan {
  frontends::Export source;          // what the driver gets to see
  engine::ContentSignature content;  // of the plaintext
  Driver driver = Driver::kKernel;
  bool read_write = false;
  // Logical volumes with a file system beside the one that was picked without being named.
  std::vector<std::string> others;
};

// With a volume, that one; with a partition, that one. Else the file system inside the only
// unlocked volume that holds one; else, nothing being encrypted or unlocked, the only file system
// there is, not counting an EFI system partition beside it. Where that is LVM's, the only logical
// volume with a file system, or the root of Azure's usual layout (logical_volumes.h). Errors:
// kUsage where several could be meant (the message lists them), kNotSupported where there is no
// file system or no driver for it, kSystem where the driver needs root.
engine::Result<MountPlan> plan_mount(const Image& image, const MountChoice& choice, bool read_write,
                                     bool is_root);

// The driver options that keep a read-only mount from replaying a journal, as a comma-separated
// list: "noload". Empty where the file system has none. See mount(8).
std::string no_replay_options(const std::string& type);

}  // namespace latchkey::tools
