// latchkey copy: what is in an image, to a file, a block device or an NBD server.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/copy/copy_run.h"
#include "tools/exit_status.h"
#include "tools/open_image.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr unsigned kMostJobs = 64;

struct CopyOptions {
  OpenOptions open;
  CopyRequest request;
  bool disk = false;
  bool no_manifest = false;
};

Result<void> check_options(const CopyOptions& options) {
  const bool both =
      options.open.keys.passphrase_file == "-" && options.request.key.passphrase_file == "-";
  if (both) {
    return Error(ErrorCode::kUsage,
                 "--passphrase-file and --new-passphrase-file cannot both be standard input");
  }
  return {};
}

std::vector<std::string> warnings_of(const Image& image) {
  std::vector<std::string> warnings;
  for (const engine::Notices* notices : {&image.notices, &image.logical_notices}) {
    for (const engine::Notice& notice : notices->items()) {
      if (notice.severity == engine::Notice::Severity::kNote) continue;
      warnings.push_back(notice.where + ": " + notice.text);
    }
  }
  return warnings;
}

Result<CopyRequest> open_source(const CopyOptions& options) {
  auto opened = open_image(options.open);
  if (!opened) return std::move(opened).error();
  CopyRequest request = options.request;
  request.image = options.open.image;
  request.container = opened->image.container.format;
  const frontends::ExportList& exports = opened->exports;
  request.source = options.disk ? exports.exports.front() : exports.default_export();
  if (request.source.name == "disk") {
    for (const Region* region : std::as_const(opened->image).encrypted()) {
      if (!region->volume->open()) request.locked.push_back(region->name());
    }
  }
  if (request.source.device->size_bytes() == 0) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("{}: nothing of the data of {} is here: the image ends before it",
                             options.open.image, request.source.name))
        .with_hint("latchkey info says how long it should be");
  }
  request.warnings = warnings_of(opened->image);
  request.read_files = options.open.keys.files();
  request.read_files.push_back(request.key.key_file);
  request.read_files.push_back(request.key.passphrase_file);
  // The key that was made when the copy was begun.
  if (request.target.resume && access(request.key.generated.c_str(), F_OK) == 0) {
    request.key.key_file = std::exchange(request.key.generated, {});
  }
  request.target.connections = request.jobs;
  request.manifest = !options.no_manifest;
  return request;
}

int copy(const CopyOptions& options) {
  if (auto fine = check_options(options); !fine) return fail(fine.error());
  auto request = open_source(options);
  return request ? run_copy(std::move(*request)) : fail(request.error());
}

void add_source_options(CLI::App& command, CopyOptions& options) {
  command.add_option("IMAGE", options.open.image, "the image file or block device")
      ->required()
      ->type_name("");
  command
      .add_option("OUT", options.request.target.out,
                  "a file, a block device, or the URI of an NBD export")
      ->required()
      ->type_name("");
  add_partition_option(command, options.open);
  command
      .add_flag("--disk", options.disk,
                "the whole disk, each volume that opens in its place as plaintext\n"
                "(default: the one volume that opens; else the disk)")
      ->excludes("--partition");
  add_locked_option(command, options.open);
}

void add_target_options(CLI::App& command, CopyOptions& options) {
  CopyRequest& request = options.request;
  command
      .add_option("--format", request.target.format,
                  "raw, vhd (fixed: for Azure) or vhd-dynamic (default: by OUT's name)")
      ->type_name("KIND")
      ->check(CLI::IsMember({"raw", "vhd", "vhd-dynamic"}));
  command.add_flag("--encrypt", request.target.encrypt, "into a new LUKS volume");
  command.add_flag("--verify", request.verify,
                   "read the copy back afterwards and compare the digests");
  command.add_flag("--resume", request.target.resume,
                   "go on with a copy that was stopped; what is there is compared");
  command.add_flag("--keep-going", request.keep_going,
                   "fill what cannot be read with zeros and list it (exit status 1)");
  command.add_option("--jobs", request.jobs, "threads (default: processors)")
      ->type_name("N")
      ->check(CLI::Range(1U, kMostJobs));
  command.add_flag("--force", request.target.force, "overwrite what OUT holds");
  auto* path = command
                   .add_option("--manifest", request.manifest_path,
                               "where the JSON about the copy goes (default: OUT.json)")
                   ->type_name("FILE");
  command
      .add_flag("--no-manifest", options.no_manifest,
                "no OUT.json and OUT.sha256, and no digest but for --verify")
      ->excludes(path);
}

}  // namespace

void add_copy_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<CopyOptions>();
  options->request.jobs = std::clamp(std::thread::hardware_concurrency(), 1U, kMostJobs);
  CLI::App* command =
      app.add_subcommand("copy", "copy what is in an image out of it, decrypted or encrypted anew");
  add_source_options(*command, *options);
  add_target_options(*command, *options);
  add_cipher_variant_option(*command);
  add_key_options(*command, options->open.keys);
  add_new_key_options(*command, options->request.key, "--new-");
  add_new_volume_options(*command, options->request.target.volume);
  for (CLI::Option* option : command->get_options()) {
    const std::string& group = option->get_group();
    if (group == "Volume options" || group == "New key options") option->needs("--encrypt");
  }
  command->footer(
      "A file is made with mode 0600. Zeros become holes. Ctrl-C stops it; the same command with\n"
      "--resume goes on (with --resume --force on a device or a server). OUT.json says what was "
      "copied, with its digest; OUT.sha256 is for\n"
      "sha256sum -c (a VHD or an encrypted copy gets it with --verify).\n\n"
      "Examples:\n"
      "  latchkey copy disk.vhd disk.raw --key disk.key\n"
      "  latchkey copy os.vhd plain.vhd --disk --key os.BEK --verify\n"
      "  latchkey copy disk.vhd luks.img --key disk.BEK --encrypt --new-passphrase-file pw.txt");
  command->callback([options, &exit_status] {
    options->open.shows_disk = options->disk || options->open.locked;
    exit_status = copy(*options);
  });
}

}  // namespace latchkey::tools
