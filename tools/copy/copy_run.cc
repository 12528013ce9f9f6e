#include "tools/copy/copy_run.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/unique_fd.h"
#include "tools/copy/checkpoints.h"
#include "tools/copy/copy_names.h"
#include "tools/copy/copy_progress.h"
#include "tools/copy/copy_report.h"
#include "tools/copy/copy_state.h"
#include "tools/copy/manifest.h"
#include "tools/exit_status.h"
#include "tools/fault_printer.h"
#include "tools/sizes.h"
#include "tools/status_line.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::chrono::milliseconds kLookApart{20};

// The modification time and size of the image tell whether it is still the same one.
Result<CopyState> state_of(const CopyRequest& request) {
  struct stat about {};
  if (stat(request.image.c_str(), &about) != 0) {
    return Error::system("cannot look at " + request.image, errno);
  }
  CopyState state;
  state.image = request.image;
  if (S_ISREG(about.st_mode)) {
    state.image_bytes = static_cast<std::uint64_t>(about.st_size);
    state.image_changed_ns = about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec;
  }
  state.what = request.source.name;
  state.bytes = request.source.device->size_bytes();
  return state;
}

// So that what is verified comes from the storage.
void forget_cached(const std::string& path) {
  const engine::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() >= 0) (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

class CopyRun {
 public:
  explicit CopyRun(CopyRequest request)
      : request_(std::move(request)), mark_(request_.target.out) {}

  Result<void> run() {
    if (auto done = prepare(); !done) return done;
    if (auto done = make(); !done) return done;
    auto signals = StopSignals::arm();
    if (!signals) return std::move(signals).error();
    if (auto done = copy(*signals); !done || stopped_by_ != 0) return done;
    if (auto done = finish(); !done) return done;
    if (request_.verify) {
      if (auto done = verify(*signals); !done || stopped_by_ != 0) return done;
    }
    Manifest manifest = describe();
    if (auto done = settle(manifest); !done) return done;
    say_copied(manifest, seconds_);
    return say_unread(manifest, request_.manifest_path);
  }

  // The signal that ended it early; 0: none did.
  int stopped_by() const noexcept { return stopped_by_; }

 private:
  const std::string& out() const noexcept { return request_.target.out; }

  Result<void> prepare() {
    began_ = utc_now();
    kind_ = kind_of_target(out());
    if (auto fine = settle_names(request_); !fine) return fine;
    auto format = format_of_target(request_.target);
    if (!format) return std::move(format).error();
    request_.target.format = std::move(*format);
    auto state = state_of(request_);
    if (!state) return std::move(state).error();
    state_ = std::move(*state);
    if (auto found = find_unfinished(); !found) return found;
    auto plan = plan_target(request_.target, state_.bytes, resumes_);
    if (!plan) return std::move(plan).error();
    plan_ = std::move(*plan);
    resumes_ = plan_.resumes;
    if (resumes_ && !is_file()) state_.copied_below = state_.bytes;
    if (!request_.target.encrypt) return {};
    auto secret = read_new_key(request_.key, "--new-", out());
    if (!secret) return std::move(secret).error();
    secret_ = std::make_unique<keyslots::Secret>(std::move(*secret));
    if (!request_.key.generated.empty()) made_files_.add(request_.key.generated);
    return {};
  }

  bool is_file() const noexcept { return kind_ == TargetKind::kFile; }

  // Is OUT a copy that was begun, and this one?
  Result<void> find_unfinished() {
    if (!is_file()) return {};
    state_.format = request_.target.format;
    state_.volume = volume_wish(request_.target);
    const bool resume = request_.target.resume;
    const bool force = request_.target.force && !resume;
    auto found = mark_.open();
    if (!found) {
      // A mark that makes no sense is overwritten where all is.
      const bool senseless = found.error().code() == ErrorCode::kDamaged;
      return force && senseless ? Result<void>() : std::move(found).error();
    }
    const bool there = access(out().c_str(), F_OK) == 0;
    was_there_ = there || found->has_value();
    if (!*found) {
      if (!resume || !there) return {};
      return Error(ErrorCode::kRefused,
                   out() + " is not an unfinished copy: there is no " + copy_state_file_of(out()))
          .with_hint("--force without --resume overwrites it");
    }
    if (force) return {};
    if (!resume) {
      return Error(ErrorCode::kRefused,
                   out() + " is an unfinished copy of " + engine::printable((*found)->image))
          .with_hint("--resume goes on with it, --force begins anew");
    }
    if (!(*found)->same_copy(state_)) {
      return Error(ErrorCode::kRefused,
                   out() + " is an unfinished copy of something else or in another way, or " +
                       request_.image + " has changed since")
          .with_hint("--force without --resume begins anew");
    }
    resumes_ = there && (*found)->made;
    if (resumes_) {
      state_.copied_below = (*found)->copied_below;
    } else {
      request_.target.force = true;  // what is there was begun by the same command
    }
    return {};
  }

  Result<void> make() {
    if (resumes_) {
      auto target = reopen_target(plan_, secret_.get(), engine::Access::kReadWrite);
      if (!target) return std::move(target).error();
      target_ = std::move(*target);
      state_.made = true;
      made_files_.keep();
      return {};
    }
    if (is_file()) {
      if (auto done = mark_.write(state_); !done) return done;
      if (!was_there_) made_files_.add(copy_state_file_of(out()));
      remove_old_manifest(manifest_file_of(out()), out());
    }
    auto target = make_target(plan_, secret_.get(), made_files_);
    if (!target) return std::move(target).error();
    target_ = std::move(*target);
    state_.made = true;
    if (is_file()) {
      if (auto done = mark_.write(state_); !done) return done;
    }
    made_files_.keep();
    return {};
  }

  Result<void> copy(StopSignals& signals) {
    CopyJobOptions options;
    options.jobs = request_.jobs;
    options.digest = request_.manifest || request_.verify;
    options.keep_going = request_.keep_going;
    options.zeroes = target_.zeroes;
    options.compare_below = resumes_ ? state_.copied_below : 0;
    CopyJob job(request_.source.device, target_.device, state_.bytes, options);
    if (auto done = job.start(); !done) return done;
    Checkpoints checkpoints(job, *target_.device, is_file() ? &mark_ : nullptr, state_);
    const auto start = std::chrono::steady_clock::now();
    wait(job, "copied", signals);
    auto outcome = job.finish();
    checkpoints.end();
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (outcome.ok() && outcome->whole) {
      outcome_ = std::move(*outcome);
      return {};
    }
    // What there is stays, to be gone on with; where this cannot be written down any more, from an
    // earlier place.
    (void)checkpoints.take().ok();
    if (!outcome.ok()) return failed(std::move(outcome).error(), job.source_failed());
    return stopped(fmt::format("stopped at {} of {}", human_size(job.copied_below()),
                               human_size(state_.bytes)));
  }

  // What the person types next.
  std::string how_to_go_on() const {
    if (is_file()) return "the same command with --resume goes on";
    return "the same command with --resume --force compares what is there and goes on";
  }

  Result<void> stopped(const std::string& where) {
    tell("latchkey: " + where + ": " + how_to_go_on() + "\n");
    if (stopped_by_ != 0) return {};
    return Error(ErrorCode::kSystem, "stopped before the end");  // by nobody: never seen
  }

  Error failed(Error error, bool of_source) const {
    const std::string place = of_source
                                  ? engine::printable(request_.image) + " " + request_.source.name
                                  : engine::printable(out());
    std::string hint = how_to_go_on();
    if (of_source) hint += "; --keep-going fills what cannot be read with zeros";
    return std::move(error).within(place).with_hint(hint);
  }

  void wait(CopyJob& job, const std::string& what, StopSignals& signals) {
    CopyProgress progress(what, job.bytes());
    while (!job.wait_for(kLookApart)) {
      progress.show(job.copied_below());
      pollfd stop{signals.fd(), POLLIN, 0};
      if (stopped_by_ == 0 && poll(&stop, 1, 0) > 0) {
        stopped_by_ = signals.take();
        if (stopped_by_ == 0) continue;
        job.stop();
        signals.let_go();  // a second one ends it at once: what is marked is safe at any time
      }
    }
  }

  // What is behind the last byte, durability, the names.
  Result<void> finish() {
    engine::BlockDevice& device = *target_.device;
    const std::uint64_t left = device.size_bytes() - state_.bytes;
    // A file has room to spare where a VHD is rounded up; behind a cipher that would be noise.
    if (is_file() && left > 0 && target_.zeroes == ZeroWrites::kWriteOut) {
      if (const auto s = device.write_zeroes(state_.bytes, left); !s.ok()) {
        return Error::system("cannot write the end of " + out(), s.sys_errno());
      }
    }
    StatusLine line;
    line.say("writing what is still in memory ...");  // a slow device takes minutes
    if (const engine::IoStatus synced = device.flush(); !synced.ok()) {
      return Error::system("cannot sync " + out(), synced.sys_errno()).with_hint(how_to_go_on());
    }
    if (!is_file()) return {};
    state_.copied_below = state_.bytes;
    return mark_.write(state_);
  }

  Result<std::string> digest_of(engine::DevicePtr device, std::uint64_t bytes,
                                const std::string& what, StopSignals& signals) {
    CopyJobOptions options;
    options.jobs = request_.jobs;
    CopyJob job(std::move(device), nullptr, bytes, options);
    if (auto done = job.start(); !done) return std::move(done).error();
    wait(job, what, signals);
    auto outcome = job.finish();
    if (!outcome) return std::move(outcome).error().within(out());
    return outcome->sha256;
  }

  Result<void> verify(StopSignals& signals) {
    volume_ = target_.volume;
    target_ = {};
    if (is_file()) forget_cached(out());
    auto there = reopen_target(plan_, secret_.get(), engine::Access::kReadOnly);
    if (!there) return std::move(there).error().within("--verify");
    auto digest = digest_of(std::move(there->device), state_.bytes, "verified", signals);
    if (!digest) return std::move(digest).error();
    if (stopped_by_ != 0) return stopped_verifying();
    if (*digest != outcome_.sha256) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("{} does not hold what was written: sha256 {} was read back, {} was "
                               "copied",
                               out(), *digest, outcome_.sha256))
          .with_hint("do not trust this storage; " + how_to_go_on() + ", and mends what differs");
    }
    verified_ = true;
    return hash_file(signals);
  }

  Result<void> stopped_verifying() {
    return stopped("all of it is copied, and the verification was stopped");
  }

  // The digest of OUT as it lies there, where it is not that of the plaintext.
  Result<void> hash_file(StopSignals& signals) {
    if (!is_file() || plain_file()) return {};
    engine::Notices notices;
    auto file = engine::FileDevice::open(out(), engine::Access::kReadOnly, notices);
    if (!file) return std::move(file).error();
    const std::uint64_t bytes = (*file)->size_bytes();
    auto digest = digest_of(engine::DevicePtr(*file), bytes, "hashed", signals);
    if (!digest) return std::move(digest).error();
    if (stopped_by_ != 0) return stopped_verifying();
    file_sha256_ = std::move(*digest);
    return {};
  }

  bool plain_file() const { return plan_.format == "raw" && !request_.target.encrypt; }

  Manifest describe() {
    if (volume_.empty()) volume_ = target_.volume;
    Manifest manifest;
    manifest.copy = state_;
    manifest.copy.format = plan_.format;
    manifest.copy.volume = volume_wish(request_.target);
    manifest.locked = request_.locked;
    manifest.warnings = request_.warnings;
    manifest.container = request_.container;
    manifest.description = request_.source.description;
    manifest.out = out();
    manifest.volume = volume_;
    manifest.outcome = std::move(outcome_);
    manifest.verified = verified_;
    manifest.resumed = resumes_;
    manifest.began = began_;
    manifest.ended = utc_now();
    return manifest;
  }

  // The copy is whole: it gets its manifest and is no longer unfinished.
  Result<void> settle(Manifest& manifest) {
    target_ = {};  // closed, so that the file has its last size
    struct stat about {};
    if (is_file() && stat(out().c_str(), &about) == 0) {
      manifest.file_bytes = static_cast<std::uint64_t>(about.st_size);
      manifest.file_sha256 = plain_file() ? manifest.outcome.sha256 : file_sha256_;
    }
    if (!request_.manifest_path.empty()) {
      if (auto done = write_manifest(request_.manifest_path, manifest); !done) return done;
    }
    mark_.remove();
    return {};
  }

  CopyRequest request_;
  CopyMark mark_;
  TargetKind kind_ = TargetKind::kFile;
  CopyState state_;
  TargetPlan plan_;
  MadeFiles made_files_;
  std::unique_ptr<keyslots::Secret> secret_;
  CopyTarget target_;
  CopyOutcome outcome_;
  std::string volume_;
  std::string file_sha256_;
  std::string began_;
  double seconds_ = 0;
  bool resumes_ = false;
  bool was_there_ = false;  // OUT or its mark, before this began
  bool verified_ = false;
  int stopped_by_ = 0;
};

}  // namespace

int run_copy(CopyRequest request) {
  auto faults = std::make_unique<FaultPrinter>();
  Result<void> outcome;
  int signal = 0;
  {
    CopyRun run(std::move(request));
    outcome = run.run();
    signal = run.stopped_by();
  }
  faults.reset();
  if (!outcome.ok()) return fail(outcome.error());
  if (signal != 0) StopSignals::die_of(signal);
  return kDone;
}

}  // namespace latchkey::tools
