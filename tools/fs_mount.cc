#include "tools/fs_mount.h"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/exit_status.h"
#include "tools/helper_program.h"
#include "tools/loop_device.h"
#include "tools/mount_point.h"
#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Error refused_by_kernel(const MountPlan& plan, int reason) {
  const std::string what =
      fmt::format("the kernel's {} driver refuses {}", plan.content.type, plan.source.name);
  if (reason == ENODEV) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("this kernel has no driver for {}", plan.content.type))
        .with_hint("latchkey expose gives the file system as a file, for tools that can read it");
  }
  Error error = Error::system(what, reason);
  if (reason == EPERM || reason == EACCES) {
    return std::move(error).with_hint("mounting is not allowed here: is this a container?");
  }
  return Error(ErrorCode::kDamaged, error.message())
      .with_hint(
          "dmesg says why; latchkey expose gives the file system as a file, for fsck and others");
}

Result<void> mount_by_kernel(const MountPlan& plan, const std::string& file,
                             const std::string& directory) {
  auto loop = LoopDevice::attach(file, plan.read_write);
  if (!loop.ok()) return std::move(loop).error();
  unsigned long flags = MS_NODEV | MS_NOSUID;
  std::string data;
  if (!plan.read_write) {
    flags |= MS_RDONLY;
    data = no_replay_options(plan.content.type);
  } else if (plan.content.type == "xfs") {
    data = "nouuid";
  }
  // The ext4 driver mounts ext2 and ext3, too, and knows "noload" for all of them.
  const bool is_ext = plan.content.type == "ext2" || plan.content.type == "ext3";
  const std::string type = is_ext ? "ext4" : plan.content.type;
  const auto attempt = [&](const std::string& options) {
    return ::mount(loop->path().c_str(), directory.c_str(), type.c_str(), flags, options.c_str());
  };
  if (attempt(data) == 0) return {};
  // Kernels before 5.9 spell it without "rescue=".
  if (errno == EINVAL && data == "rescue=nologreplay" && attempt("nologreplay") == 0) return {};
  return refused_by_kernel(plan, errno);
}

Error refused_by_program(const MountPlan& plan, const std::string& program,
                         const HelperOutcome& outcome) {
  const std::string said =
      outcome.said.empty() ? fmt::format("exit status {}", outcome.exit_status) : outcome.said;
  Error error(ErrorCode::kDamaged,
              fmt::format("{} refuses {}: {}", program, plan.source.name, said));
  if (plan.driver == Driver::kNtfs3g && !may_allow_other()) {
    // Debian's ntfs-3g is setuid root, and FUSE keeps such programs from a user's own mounts.
    return Error(ErrorCode::kSystem, error.message())
        .with_hint("use sudo, or add the line user_allow_other to /etc/fuse.conf");
  }
  return std::move(error).with_hint(
      "latchkey expose gives the file system as a file, for tools that repair it");
}

Result<void> mount_by_program(const MountPlan& plan, const std::string& file,
                              const std::string& directory) {
  const bool ntfs = plan.driver == Driver::kNtfs3g;
  std::string options = plan.read_write ? "rw" : "ro";
  options += ",nodev,nosuid";
  if (ntfs) {
    // Its own default is that every user of the machine may read and write everything.
    options += fmt::format(",umask=077,uid={},gid={}", geteuid(), getegid());
  } else {
    if (!plan.read_write) options += ",norecovery";
    // Whoever holds the image and its key may read all of it; without this, fuse2fs applies the
    // owners and modes of the machine the image came from.
    options += ",fakeroot";
  }
  const std::string program = ntfs ? "ntfs-3g" : "fuse2fs";
  auto outcome = run_helper({program, file, directory, "-o", options}, program);
  if (!outcome.ok()) return std::move(outcome).error();
  if (outcome->exit_status != 0 || !mounted_type(directory)) {
    return refused_by_program(plan, program, *outcome);
  }
  // ntfs-3g falls back to reading where Windows has hibernated or crashed.
  struct statvfs facts {};
  if (plan.read_write && statvfs(directory.c_str(), &facts) == 0 &&
      (facts.f_flag & ST_RDONLY) != 0) {
    warn(fmt::format("{} can only be read: {}", plan.source.name, outcome->said));
  }
  return {};
}

}  // namespace

bool may_allow_other() {
  if (geteuid() == 0) return true;
  std::ifstream configuration("/etc/fuse.conf");
  for (std::string line; std::getline(configuration, line);) {
    std::istringstream words(line);
    std::string word;
    if (words >> word && word == "user_allow_other") return true;
  }
  return false;
}

Result<void> mount_file_system(const MountPlan& plan, const std::string& file,
                               const std::string& directory) {
  return plan.driver == Driver::kKernel ? mount_by_kernel(plan, file, directory)
                                        : mount_by_program(plan, file, directory);
}

Result<void> unmount_directory(const std::string& directory) {
  if (umount2(directory.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  const int reason = errno;
  if (reason == EPERM) {
    auto outcome = run_helper({"fusermount3", "-u", "--", directory}, "fuse3");
    if (!outcome.ok()) return std::move(outcome).error();
    if (outcome->exit_status == 0) return {};
    const bool busy = outcome->said.find("busy") != std::string::npos;
    if (!busy) {
      return Error(ErrorCode::kSystem,
                   fmt::format("cannot unmount {}: {}", directory, outcome->said));
    }
  } else if (reason != EBUSY) {
    return Error::system("cannot unmount " + directory, reason);
  }
  return Error::system(directory + " is in use", EBUSY)
      .with_hint(fmt::format("fuser -vm {} shows by whom", shell_quoted(directory)));
}

}  // namespace latchkey::tools
