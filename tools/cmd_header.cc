// latchkey header: backup, restore, check and repair the header of a LUKS volume.
#include <algorithm>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/memory_device.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks_check.h"
#include "keyslots/luks/luks_header_copy.h"
#include "tools/commands.h"
#include "tools/digest_file.h"
#include "tools/exit_status.h"
#include "tools/key_options.h"
#include "tools/luks_target.h"
#include "tools/new_file.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Notice;
using engine::Result;

namespace {

struct HeaderOptions {
  TargetOptions target;
  KeyOptions keys;
  std::string file;    // the backup to write, or to restore
  std::string backup;  // of what is there, before it is changed
  bool yes = false;
  bool force = false;
};

// The backup and, beside it, its digest as sha256sum writes it.
Result<void> save(const std::string& path, engine::Bytes bytes) {
  if (auto done = write_new_file(path, bytes); !done) return done;
  if (auto done = write_digest_file(path, bytes); !done) {
    return std::move(done).error().within("the backup is written, its digest is not");
  }
  fmt::print(stderr, "{}: {} of header and key slots; its digest is in {}\n", path,
             human_size(bytes.size()), digest_file_of(path));
  return {};
}

Result<void> backup(const HeaderOptions& options) {
  const auto target = find_luks_target(options.target, options.keys.header, TargetUse::kRead);
  if (!target) return target.error();
  const auto bytes = keyslots::read_luks_header_place(*target->header_device);
  if (!bytes) return bytes.error();
  return save(options.file, *bytes);
}

// Nothing is changed before what is there has been put aside.
Result<void> save_what_is_there(const HeaderOptions& options, const LuksTarget& target,
                                std::uint64_t at_least_bytes = 0) {
  const auto bytes = keyslots::read_luks_header_place(*target.header_device, at_least_bytes);
  if (!bytes) return bytes.error();
  return save(options.backup, *bytes);
}

Result<void> confirm(const HeaderOptions& options, const std::string& question) {
  if (options.yes) return {};
  auto yes = ask_yes(question + " [yes/no] ");
  if (!yes) return std::move(yes).error();
  if (*yes) return {};
  return Error(ErrorCode::kRefused, "nothing was changed");
}

// restore ---------------------------------------------------------------------------------------

Result<std::vector<std::byte>> read_backup(const std::string& path) {
  engine::Notices notices;
  auto file = engine::FileDevice::open(path, engine::Access::kReadOnly, notices);
  if (!file) return std::move(file).error();
  constexpr std::uint64_t kMostBytes = std::uint64_t{160} << 20;  // the largest key slots area
  if ((*file)->size_bytes() > kMostBytes) {
    return Error(ErrorCode::kUsage, path + " is too large to be a header backup");
  }
  std::vector<std::byte> bytes((*file)->size_bytes());
  if (auto s = (*file)->read(0, bytes); !s.ok()) {
    return Error::system("cannot read " + path, s.sys_errno());
  }
  if (auto same = check_digest_file(path, bytes); !same) return std::move(same).error();
  return bytes;
}

// As a file does whose header was wiped.
bool begins_with_zeros(engine::BlockDevice& device) {
  std::vector<std::byte> bytes(std::min<std::uint64_t>(device.size_bytes(), 4096));
  return device.read(0, bytes).ok() &&
         std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

// Would the backup be written over something that is no header? Over the data, that is.
Result<void> check_before_data(const HeaderOptions& options, const LuksTarget& target,
                               std::uint64_t backup_bytes, std::uint64_t payload_offset) {
  constexpr std::uint64_t kRounding = 4096;  // of a backup's length
  if (payload_offset == 0) {
    return Error(ErrorCode::kRefused,
                 options.file +
                     " is of a header that is kept apart from its data: it would be "
                     "written over the data")
        .with_hint("name the file that is the header: --header FILE");
  }
  if (payload_offset + kRounding < backup_bytes) {
    return Error(ErrorCode::kRefused,
                 fmt::format("{} is longer than what lies before its data, at byte {}: it would be "
                             "written over the data",
                             options.file, payload_offset));
  }
  if (target.region->volume && target.region->volume->header) return {};
  std::string content = target.region->content.type;
  if (content.empty() || content == "crypto_LUKS") {
    if (!keyslots::something_else_begins(*target.header_device)) return {};
    content = "a boot sector or a partition table";
  }
  return Error(ErrorCode::kRefused,
               fmt::format("{} holds {}, which the header would overwrite", target.name(), content))
      .with_hint("--force does it all the same");
}

// Over something else in the file that --header names, where no header is in it?
Result<void> check_header_file(const HeaderOptions& options, const LuksTarget& target) {
  if (target.region->content.type == "crypto_LUKS") {
    return Error(ErrorCode::kRefused, fmt::format("{} has a header of its own, and {} holds none",
                                                  target.name(), options.keys.header))
        .with_hint("--force writes the header into it all the same");
  }
  if (begins_with_zeros(*target.header_device)) return {};
  return Error(ErrorCode::kRefused, "there is something in " + options.keys.header +
                                        ", and no header that can be recognised")
      .with_hint("is it the right file? --force writes the header over it");
}

// Does the backup belong to what is there, as far as that can still be told?
Result<void> check_belongs(const HeaderOptions& options, const LuksTarget& target,
                           const std::vector<std::byte>& backup) {
  engine::Notices notices;
  const keyslots::VolumeSource source{target.region->device,
                                      std::make_shared<engine::MemoryDevice>(backup)};
  auto saved = keyslots::probe_volume(source, notices);
  if (!saved) return std::move(saved).error().within(options.file);
  if (*saved == nullptr || !(*saved)->facts().format.starts_with("LUKS")) {
    return Error(ErrorCode::kDamaged, options.file + " holds no LUKS header");
  }
  const auto& present = target.region->volume;
  const bool usable = present && present->header;
  const bool apart = target.header_device != target.region->device;
  if (!options.force) {
    auto fine = Result<void>();
    if (!apart) {
      fine = check_before_data(options, target, backup.size(), (*saved)->facts().payload_offset);
    } else if (!usable) {
      fine = check_header_file(options, target);
    }
    if (!fine) return fine;
  }
  if (!usable) {
    warn("the header that is there cannot be used: nothing tells whether the backup belongs to it");
    return {};
  }
  auto why = keyslots::why_backup_differs(present->header->facts(), (*saved)->facts());
  for (std::string& one : keyslots::why_backup_keys_differ(*target.header_device, backup)) {
    why.push_back(std::move(one));
  }
  if (why.empty()) return {};
  const std::string text =
      fmt::format("the backup is not of this volume: {}", fmt::join(why, "; "));
  if (!options.force) {
    return Error(ErrorCode::kRefused, text)
        .with_hint(
            "with the header of another volume the data is lost; --force does it all the "
            "same");
  }
  warn(text);
  return {};
}

Result<void> restore(const HeaderOptions& options) {
  const auto bytes = read_backup(options.file);
  if (!bytes) return bytes.error();
  auto target = find_header_place(options.target, options.keys.header, TargetUse::kWrite);
  if (!target) return std::move(target).error();
  if (auto fine = check_belongs(options, *target, *bytes); !fine) return fine;
  auto can_be = keyslots::check_luks_restore(*target->header_device, *bytes, options.force);
  if (!can_be) return can_be;
  const std::string question =
      fmt::format("Replace the header of {} by {}? Keys that only the present one knows are lost.",
                  engine::printable(target->name()), engine::printable(options.file));
  if (auto sure = confirm(options, question); !sure) return sure;
  if (auto saved = save_what_is_there(options, *target, bytes->size()); !saved) return saved;
  auto done = keyslots::restore_luks_header(*target->header_device, *bytes, options.force);
  if (!done) return done;
  fmt::print("the header of {} is that of {}\n", target->name(), options.file);
  return {};
}

// check -----------------------------------------------------------------------------------------

const char* word_of(Notice::Severity severity) {
  switch (severity) {
    case Notice::Severity::kNote:
      return "ok";
    case Notice::Severity::kWarning:
      return "warning";
    case Notice::Severity::kDamage:
      return "damage";
  }
  return "";
}

// With keys: does one of them open it, and is what it opens the volume's key?
Result<void> check_keys(const HeaderOptions& options, const LuksTarget& target,
                        engine::Notices& findings) {
  if (!options.keys.any_secret()) return {};
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return unlock.error();
  const auto ring = read_secrets(options.keys);
  if (!ring) return ring.error();
  if (!target.region->volume || !target.region->volume->header) return {};
  const auto opened = keyslots::find_keys(target.header(), *ring, *unlock);
  if (opened) {
    findings.note("volume key", "it agrees with its digest: " + opened->opened_by);
    return {};
  }
  if (opened.error().code() != ErrorCode::kDamaged) return opened.error();
  findings.damage("volume key", opened.error().message());
  return {};
}

int check(const HeaderOptions& options) {
  const auto target = find_header_place(options.target, options.keys.header, TargetUse::kRead);
  if (!target) return fail(target.error());
  engine::Notices findings;
  keyslots::check_luks_header(*target->header_device, findings);
  const auto tried = check_keys(options, *target, findings);
  bool sound = true;
  for (const Notice& finding : findings.items()) {
    sound = sound && finding.severity == Notice::Severity::kNote;
    fmt::print("{:8} {}: {}\n", word_of(finding.severity), finding.where, finding.text);
  }
  // A key that cannot be read, or is a wrong one, says nothing of the header.
  const int failed = tried ? static_cast<int>(kDone) : fail(tried.error());
  if (findings.has_damage()) return kUnusable;
  if (failed != kDone) return failed;
  return sound ? kDone : kAnswerIsNo;
}

// repair ----------------------------------------------------------------------------------------

Result<void> repair(const HeaderOptions& options) {
  auto target = find_header_place(options.target, options.keys.header, TargetUse::kWrite);
  if (!target) return std::move(target).error();
  auto repair =
      keyslots::plan_luks_repair(*target->header_device, {.device_was_reused = options.force});
  if (!repair) return std::move(repair).error();
  if (!repair->needed()) {
    fmt::print("there is nothing to repair\n");
    return {};
  }
  const std::string question =
      fmt::format("Repair the header of {}?", engine::printable(target->name()));
  if (auto sure = confirm(options, question); !sure) return sure;
  if (auto saved = save_what_is_there(options, *target); !saved) return saved;
  if (auto r = keyslots::carry_out_repair(*target->header_device, *repair); !r) return r;
  for (const Notice& one : repair->done.items()) fmt::print("{}: {}\n", one.where, one.text);
  return {};
}

// -----------------------------------------------------------------------------------------------

void add_header_option(CLI::App& command, HeaderOptions& options) {
  command.add_option("--header", options.keys.header, "the volume's detached header")
      ->type_name("FILE");
}

void add_change_options(CLI::App& command, HeaderOptions& options) {
  command
      .add_option("--backup", options.backup, "put aside what is there in FILE, a new one (needed)")
      ->required()
      ->type_name("FILE");
  command.add_flag("--yes", options.yes, "do not ask");
}

}  // namespace

void add_header_command(CLI::App& app, int& exit_status) {
  CLI::App* header =
      app.add_subcommand("header", "back up, restore, check and repair a LUKS header");
  header->require_subcommand(1);

  auto options = std::make_shared<HeaderOptions>();
  CLI::App* command = header->add_subcommand("backup", "save the header and its key slots");
  add_target_options(*command, options->target);
  command->add_option("FILE", options->file, "the backup to make, and FILE.sha256")
      ->required()
      ->type_name("");
  add_header_option(*command, *options);
  command->callback([options, &exit_status] { exit_status = status_of(backup(*options)); });

  options = std::make_shared<HeaderOptions>();
  command = header->add_subcommand("restore", "put a saved header back");
  add_target_options(*command, options->target);
  command->add_option("FILE", options->file, "the backup")->required()->type_name("");
  add_header_option(*command, *options);
  add_change_options(*command, *options);
  command->add_flag("--force", options->force,
                    "though it is not of this volume, or a power cut would leave neither");
  command->callback([options, &exit_status] { exit_status = status_of(restore(*options)); });

  options = std::make_shared<HeaderOptions>();
  command = header->add_subcommand("check", "say what is wrong with a header; with a key, try it");
  add_target_options(*command, options->target);
  add_key_options(*command, options->keys);
  command->footer("Exit status: 0 nothing, 1 something that repair puts right, 4 damage.");
  command->callback([options, &exit_status] { exit_status = check(*options); });

  options = std::make_shared<HeaderOptions>();
  command = header->add_subcommand(
      "repair", "write a bad copy of a LUKS2 header anew, mend small damage of a LUKS1 header");
  add_target_options(*command, options->target);
  add_header_option(*command, *options);
  add_change_options(*command, *options);
  command->add_flag("--force", options->force, "though something else begins there by now");
  command->callback([options, &exit_status] { exit_status = status_of(repair(*options)); });
}

}  // namespace latchkey::tools
