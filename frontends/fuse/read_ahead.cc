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
    if (piece.continues(last_)) want_behind(piece);
    last_ = piece;
  }
  return taken ? engine::IoStatus() : device.read(offset, buffer.span().first(length));
}

ReadAhead::Slot* ReadAhead::slot_of(const Piece& piece) noexcept {
  const auto found = std::ranges::find_if(
      slots_, [&](const Slot& slot) { return slot.state != State::kIdle && slot.piece == piece; });
  return found != slots_.end() ? &*found : nullptr;
}

// Waits where the thread is at it. What it failed to read, the caller reads itself, to be told why.
bool ReadAhead::take(const Piece& piece, TransferBuffer& buffer,
                     std::unique_lock<std::mutex>& lock) {
  Slot* slot = nullptr;
  changed_.wait(lock, [&] {
    slot = slot_of(piece);
    return slot == nullptr || slot->state == State::kReady;
  });
  if (slot == nullptr) return false;
  buffer.swap(slot->buffer);
  slot->state = State::kIdle;
  return true;
}

void ReadAhead::want_behind(const Piece& piece) noexcept {
  if (piece.length < kLeastBytes) return;
  std::array<Piece, kPiecesAhead> wanted;
  std::uint64_t next = piece.offset + piece.length;
  for (Piece& one : wanted) {
    const std::uint64_t left = piece.device->size_bytes() - next;
    if (left == 0) break;
    one = {piece.device, next,
           static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.length))};
    next += one.length;
  }
  for (const Piece& one : wanted) {
    if (one.length == 0 || slot_of(one) != nullptr) continue;
    const auto useless = std::ranges::find_if(slots_, [&](const Slot& slot) {
      return slot.state == State::kIdle || (slot.state != State::kReading &&
                                            std::ranges::find(wanted, slot.piece) == wanted.end());
    });
    if (useless == slots_.end()) break;
    useless->state = State::kWanted;
    useless->piece = one;
    changed_.notify_all();
  }
}

// The first in the order of the file: what is asked for next.
ReadAhead::Slot* ReadAhead::next_wanted() noexcept {
  Slot* first = nullptr;
  for (Slot& slot : slots_) {
    if (slot.state != State::kWanted) continue;
    if (first == nullptr || slot.piece.offset < first->piece.offset) first = &slot;
  }
  return first;
}

void ReadAhead::run(const std::stop_token& stop) noexcept {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return next_wanted() != nullptr; })) {
    Slot& slot = *next_wanted();
    slot.state = State::kReading;
    const Piece piece = slot.piece;
    lock.unlock();
    const bool read = piece.device->read(piece.offset, slot.buffer.span().first(piece.length)).ok();
    lock.lock();
    slot.state = read ? State::kReady : State::kIdle;
    changed_.notify_all();
  }
}

}  // namespace latchkey::frontends
