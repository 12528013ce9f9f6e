// latchkey expose: the image as a directory of plaintext files.
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "frontends/fuse/export_directory.h"
#include "tools/commands.h"
#include "tools/presentation.h"

namespace latchkey::tools {

using engine::Result;
using frontends::ExportDirectory;

namespace {

class ExposePresenter final : public Presenter {
 public:
  explicit ExposePresenter(bool page_cache) : page_cache_(page_cache) {}

  Result<void> start(const OpenedImage& opened, const std::string& directory,
                     const MountRecord& /*record*/) override {
    frontends::DirectoryOptions visible;
    visible.source = opened.image.path;
    visible.page_cache = page_cache_;
    auto mounted = ExportDirectory::mount(directory, opened.exports, visible);
    if (!mounted.ok()) return std::move(mounted).error();
    directory_ = std::move(mounted).value();
    return {};
  }

  Result<void> serve(StopSignals& signals) override {
    directory_->wait(signals.fd());
    return stop();
  }

  Result<void> stop() override {
    auto outcome = directory_->close();
    directory_.reset();
    return outcome;
  }

 private:
  const bool page_cache_;
  std::unique_ptr<ExportDirectory> directory_;
};

}  // namespace

void add_expose_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<PresentOptions>();
  CLI::App* command = app.add_subcommand("expose", "present an image as files: disk, p1, p2, ...");
  add_open_options(*command, options->open);
  command->add_option("DIR", options->directory, "an empty directory to mount on")
      ->required()
      ->type_name("");
  command->add_flag("--foreground", options->foreground,
                    "stay on the terminal; print 'ready DIR' once the files are there");
  auto page_cache = std::make_shared<bool>(false);
  command
      ->add_flag("--page-cache", *page_cache,
                 "let the kernel cache the files: for programs that map them into\n"
                 "memory or read a few bytes at a time")
      ->excludes("--read-write");
  add_locked_option(*command, options->open);
  command->footer(
      "Files: disk, the whole disk with its volumes unlocked in place, and p1, p2, ..., its\n"
      "partitions, plaintext where unlocked. Ends when DIR is unmounted; 'latchkey umount DIR' "
      "also\n"
      "waits until the image is closed. They are read past the kernel's cache, as fast as whoever\n"
      "reads asks for much at once (cp, dd bs=1M).\n\n"
      "Examples:\n"
      "  latchkey expose disk.vhd plain --key disk.key\n"
      "  fsck.ext4 -n plain/p2\n"
      "  latchkey umount plain");
  command->callback([options, page_cache, &exit_status] {
    ExposePresenter presenter(*page_cache);
    exit_status = present(*options, presenter);
  });
}

}  // namespace latchkey::tools
