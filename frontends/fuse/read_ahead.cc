#include "frontends/fuse/read_ahead.h"

#include <algorithm>

#include "engine/thread_signals.h"

namespace latchkey::frontends {

namespace {

// Less is not worth waking a thread for.
constexpr std::size_t kLeastBytes = std::size_t{64} * 1024;

}  // namespace

ReadAhead::ReadAhead() {
  const engine::SignalsBlocked for_the_thread;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

engine::IoStatus ReadAhead::read(engine::BlockDevice& device, std::uint64_t offset,
                                 std::size_t length, TransferBuffer& buffer) noexcept {
  const Piece piece{&device, offset, length};
  bool taken = false;
  {
    std::unique_lock lock(mutex_);
    taken = take(piece, buffer, lock);
    if (piece.continues(last_)) want_next(piece);
    last_ = piece;
  }
  return taken ? engine::IoStatus() : device.read(offset, buffer.span().first(length));
}

// Waits where the thread is at it. What it failed to read, the caller reads itself, to be told why.
bool ReadAhead::take(const Piece& piece, TransferBuffer& buffer,
                     std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [&] { return state_ != State::kWanted || ahead_ != piece; });
  if (state_ != State::kReady || ahead_ != piece) return false;
  buffer.swap(ahead_buffer_);
  state_ = State::kIdle;
  return true;
}

void ReadAhead::want_next(const Piece& piece) noexcept {
  if (state_ == State::kWanted || piece.length < kLeastBytes) return;
  const std::uint64_t next = piece.offset + piece.length;
  const std::uint64_t left = piece.device->size_bytes() - next;
  if (left == 0) return;
  ahead_ = {piece.device, next,
            static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.length))};
  state_ = State::kWanted;
  changed_.notify_all();
}

void ReadAhead::run(const std::stop_token& stop) noexcept {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return state_ == State::kWanted; })) {
    const Piece piece = ahead_;
    lock.unlock();
    const bool read =
        piece.device->read(piece.offset, ahead_buffer_.span().first(piece.length)).ok();
    lock.lock();
    state_ = read ? State::kReady : State::kIdle;
    changed_.notify_all();
  }
}

}  // namespace latchkey::frontends
