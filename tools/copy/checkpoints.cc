#include "tools/copy/checkpoints.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>

#include "engine/thread_signals.h"

namespace latchkey::tools {

using engine::Error;
using engine::Result;

namespace {

constexpr std::chrono::seconds kCheckpointsApart{5};

}  // namespace

Checkpoints::Checkpoints(const CopyJob& job, engine::BlockDevice& target, CopyMark* mark,
                         CopyState state)
    : job_(job), target_(target), mark_(mark), state_(std::move(state)) {
  const engine::SignalsBlocked quiet;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    ending_ = true;  // the one at the end is taken all the same
  }
}

void Checkpoints::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Result<void> Checkpoints::take() {
  const std::uint64_t copied = job_.copied_below();
  if (const engine::IoStatus synced = target_.flush(); !synced.ok()) {
    return Error::system("cannot sync the copy", synced.sys_errno());
  }
  state_.copied_below = std::max(copied, state_.copied_below);
  return mark_ == nullptr ? Result<void>() : mark_->write(state_);
}

void Checkpoints::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kCheckpointsApart, [&] { return ending_; })) {
    lock.unlock();
    // What is wrong with the target stops the copy itself; without this one less is kept.
    try {
      if (const auto taken = take(); !taken) return;
    } catch (const std::exception&) {  // no memory for a few lines
      return;
    }
    lock.lock();
  }
}

}  // namespace latchkey::tools
