#include "tools/presentation.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include <syslog.h>
#include <unistd.h>

#include "tools/daemonize.h"
#include "tools/exit_status.h"
#include "tools/fault_printer.h"
#include "tools/mount_point.h"

namespace latchkey::tools {

using engine::Result;

namespace {

// One run of the command in the process that serves.
class Run {
 public:
  Run(const PresentOptions& options, std::string directory, Presenter& presenter,
      std::optional<Handover> handover)
      : options_(options),
        directory_(std::move(directory)),
        presenter_(presenter),
        handover_(std::move(handover)) {}

  int to_its_end() {
    Result<void> outcome = serve_image();
    // The image is closed: those who wait for the record may go on.
    if (record_) record_->finish(outcome);
    faults_.reset();
    if (stopped_early_by_ != 0) StopSignals::die_of(stopped_early_by_);
    if (outcome.ok()) return kDone;
    if (!detached_) return fail(outcome.error());
    syslog(LOG_DAEMON | LOG_ERR, "%s", outcome.error().message().c_str());
    return exit_status_of(outcome.error().code());
  }

 private:
  Result<void> serve_image() {
    // From an absolute path: the record outlives the working directory.
    std::error_code failed;
    const std::string image = std::filesystem::absolute(options_.open.image, failed);
    faults_ = std::make_unique<FaultPrinter>();
    auto opened = open_image(options_.open);
    if (!opened.ok()) return std::move(opened).error();
    // Until here a signal ends the process as it always does: nothing is mounted yet.
    auto signals = StopSignals::arm();
    if (!signals.ok()) return std::move(signals).error();
    auto record = MountRecord::create({image, directory_, getpid()});
    if (!record.ok()) return std::move(record).error();
    record_ = std::move(record).value();
    auto started = presenter_.start(*opened, directory_, *record_);
    stopped_early_by_ = signals->take();
    if (!started.ok()) return started;
    if (stopped_early_by_ != 0) return presenter_.stop();
    if (auto announced = announce(); !announced.ok()) {
      auto stopped = presenter_.stop();
      return stopped.ok() ? announced : stopped;
    }
    return presenter_.serve(*signals);
  }

  Result<void> announce() {
    if (!handover_) {
      return say_ready(directory_);
    }
    openlog("latchkey", LOG_PID, LOG_DAEMON);
    faults_->use_system_log();
    detached_ = true;
    return handover_->ready();
  }

  const PresentOptions& options_;
  const std::string directory_;
  Presenter& presenter_;
  std::optional<Handover> handover_;
  std::unique_ptr<FaultPrinter> faults_;
  std::unique_ptr<MountRecord> record_;
  bool detached_ = false;
  int stopped_early_by_ = 0;
};

}  // namespace

int present(const PresentOptions& options, Presenter& presenter) {
  auto directory = check_mount_point(options.directory);
  if (!directory.ok()) return fail(directory.error());
  std::optional<Handover> handover;
  if (!options.foreground) {
    auto forked = Handover::fork_off();
    if (!forked.ok()) return fail(forked.error());
    if (forked->exit_status()) return *forked->exit_status();
    handover.emplace(std::move(forked).value());
  }
  return Run(options, std::move(directory).value(), presenter, std::move(handover)).to_its_end();
}

}  // namespace latchkey::tools
