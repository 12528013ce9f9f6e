// latchkey mount: the file system inside an image, mounted by a driver that exists already.
//
// The volume's plaintext is first mounted as a file in a directory nobody sees. The driver opens
// that file (the kernel's through a loop device), then the directory is detached: from there on the
// driver is the only user of the server, and when the file system is unmounted, by whatever means,
// the last user is gone and the server ends.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#include "frontends/fuse/export_directory.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/fs_mount.h"
#include "tools/mount_plan.h"
#include "tools/presentation.h"
#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::Result;
using frontends::ExportDirectory;

namespace {

// How long a driver may keep the file after its file system was unmounted: a loop device detaches,
// and ntfs-3g closes its volume, a moment later.
constexpr int kDriverEndSeconds = 30;

// A descriptor that turns readable when the time is over; -1 where there is none to be had.
class Deadline {
 public:
  explicit Deadline(int seconds) : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
    itimerspec spec{};
    spec.it_value.tv_sec = seconds;
    timerfd_settime(fd_, 0, &spec, nullptr);
  }
  ~Deadline() {
    if (fd_ >= 0) close(fd_);
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

std::vector<std::string> this_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(std::move(word));
  return words;
}

// "sudo latchkey mount disk.vhd /mnt": this very command, to be typed again.
std::string this_command_with_sudo() {
  std::string text = "sudo";
  for (const std::string& word : this_command()) text += " " + shell_quoted(word);
  return text;
}

// A logical volume was picked among several: which, and the commands that mount the others.
void name_others(const MountPlan& plan, const std::string& directory) {
  if (plan.others.empty()) return;
  std::string command;
  for (const std::string& word : this_command()) {
    std::error_code failed;
    const bool is_directory = std::filesystem::absolute(word, failed).lexically_normal() ==
                              std::filesystem::path(directory).lexically_normal();
    command += is_directory ? "DIR " : shell_quoted(word) + " ";
  }
  fmt::print(stderr, "{} ({}) is mounted; to mount the others:\n", plan.source.name,
             plan.content.type);
  for (const std::string& other : plan.others) {
    fmt::print(stderr, "  {}--volume {}\n", command, shell_quoted(other));
  }
}

// An unclean file system is shown as it lies on the disk, and that must not go unnoticed.
void warn_of_unclean(const MountPlan& plan) {
  if (!plan.content.needs_recovery) return;
  if (plan.read_write) {
    warn(fmt::format("the {} on {} was not cleanly unmounted; its driver now replays the journal",
                     plan.content.type, plan.source.name));
    return;
  }
  warn(
      fmt::format("the {} on {} was not cleanly unmounted and its journal is not replayed: recent "
                  "changes are missing and files may look damaged",
                  plan.content.type, plan.source.name));
  fmt::print(stderr,
             "hint: the image stays as it is; work on a copy of it and mount that with "
             "--read-write, which replays the journal\n");
}

class MountPresenter final : public Presenter {
 public:
  MountPresenter(const OpenOptions& options, const std::string& volume)
      : options_(options), volume_(volume) {}

  Result<void> start(const OpenedImage& opened, const std::string& directory,
                     const MountRecord& record) override {
    auto plan = plan_mount(opened.image, {options_.partition, volume_}, options_.read_write,
                           geteuid() == 0);
    if (!plan.ok()) {
      const bool needs_root = plan.error().code() == engine::ErrorCode::kSystem;
      return needs_root ? std::move(plan).error().with_hint(this_command_with_sudo())
                        : std::move(plan).error();
    }
    warn_of_unclean(*plan);
    frontends::DirectoryOptions visible;
    visible.source = opened.image.path;
    visible.page_cache = true;  // for drivers in user space; the kernel's ask a loop device
    // ntfs-3g is setuid root, and FUSE counts it as another user. Who may read the file is decided
    // by its mode all the same.
    visible.allow_other = plan->driver == Driver::kNtfs3g && may_allow_other();
    auto served = ExportDirectory::mount(record.hidden_directory(), {{plan->source}, 0}, visible);
    if (!served.ok()) return std::move(served).error();
    served_ = std::move(served).value();
    const std::string file = record.hidden_directory() + "/" + plan->source.name;
    if (auto mounted = mount_file_system(*plan, file, directory); !mounted.ok()) {
      return abandon(mounted.error());
    }
    directory_ = directory;
    if (auto hidden = served_->hide(); !hidden.ok()) {
      if (auto stopped = stop(); !stopped.ok()) warn(stopped.error().message());
      return hidden;
    }
    rmdir(record.hidden_directory().c_str());  // no harm if it stays: finish() removes it, too
    name_others(*plan, directory);
    return {};
  }

  Result<void> serve(StopSignals& signals) override {
    bool unmounted = false;
    while (served_->wait(signals.fd()) == ExportDirectory::Ending::kStopRequested) {
      signals.take();
      // Asked again, with the file system gone already: whoever holds the rest is not a mount.
      if (unmounted) break;
      // A file system in use is not torn away from its users: their data would be lost.
      auto done = unmount_directory(directory_);
      unmounted = done.ok();
      if (!unmounted) {
        syslog(LOG_DAEMON | LOG_WARNING, "%s; it stays mounted", done.error().message().c_str());
      }
    }
    return close_served();
  }

  Result<void> stop() override {
    auto unmounted = unmount_directory(directory_);
    const Deadline deadline(kDriverEndSeconds);
    if (unmounted.ok()) served_->wait(deadline.fd());
    auto closed = close_served();
    return unmounted.ok() ? std::move(closed) : std::move(unmounted);
  }

 private:
  Result<void> close_served() {
    auto outcome = served_->close();
    served_.reset();
    return outcome;
  }

  // The driver did not mount it: the error stands, whatever comes of closing.
  Result<void> abandon(const Error& error) {
    if (auto closed = close_served(); !closed.ok()) warn(closed.error().message());
    return error;
  }

  const OpenOptions& options_;
  const std::string& volume_;
  std::unique_ptr<ExportDirectory> served_;
  std::string directory_;
};

}  // namespace

void add_mount_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<PresentOptions>();
  auto volume = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("mount", "mount the file system inside an image");
  add_open_options(*command, options->open);
  command->add_option("DIR", options->directory, "an empty directory to mount on")
      ->required()
      ->type_name("");
  add_partition_option(*command, options->open);
  command->add_option("--volume", *volume, "the logical volume that is meant, where there is LVM")
      ->type_name("VG/LV");
  options->open.shows_disk = false;
  command->footer(
      "Ends when DIR is unmounted; 'latchkey umount DIR' also waits until the image is closed.\n"
      "Read-only, no journal is replayed and the image stays as it is. Without root it can mount\n"
      "ext2, ext3, ext4 (fuse2fs) and NTFS (ntfs-3g).\n\n"
      "Examples:\n"
      "  latchkey mount disk.vhd files --key disk.key\n"
      "  latchkey mount disk.vhd files --partition 2 --read-write    asks for the passphrase\n"
      "  latchkey umount files");
  command->callback([options, volume, &exit_status] {
    MountPresenter presenter(options->open, *volume);
    exit_status = present(*options, presenter);
  });
}

}  // namespace latchkey::tools
