// latchkey umount: unmounts what expose or mount has mounted, and waits until the image is closed.
#include <chrono>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/fs_mount.h"
#include "tools/mount_point.h"
#include "tools/mount_record.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::chrono::seconds kCloseWithin{120};

Result<void> unmount(const std::string& given) {
  const std::string directory = absolute_directory(given);
  const auto type = mounted_type(directory);
  const auto record = FoundRecord::of(directory);
  // The directory of an expose whose server left no record: /run was emptied, another user's.
  const bool ours = record || (type && *type == "fuse.latchkey");
  if (!ours) {
    const std::string what =
        type ? fmt::format("{}, mounted on {}, is not from latchkey", *type, given)
             : fmt::format("nothing is mounted on {}", given);
    return Error(ErrorCode::kSystem, what)
        .with_hint(type ? "umount " + given + ", or sudo latchkey umount if root has mounted it"
                        : "findmnt shows what is mounted where");
  }
  if (type) {
    if (auto unmounted = unmount_directory(directory); !unmounted.ok()) return unmounted;
  }
  return record ? record->wait(kCloseWithin) : Result<void>();
}

}  // namespace

void add_umount_command(CLI::App& app, int& exit_status) {
  auto directory = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("umount", "unmount, and return when the image is closed");
  command->add_option("DIR", *directory, "where expose or mount has mounted")
      ->required()
      ->type_name("");
  command->footer(
      "A plain 'umount DIR' does, too; this one returns when everything is written and the image "
      "is\n"
      "closed, and says if something could not be.");
  command->callback([directory, &exit_status] {
    const auto outcome = unmount(*directory);
    exit_status = outcome.ok() ? kDone : fail(outcome.error());
  });
}

}  // namespace latchkey::tools
