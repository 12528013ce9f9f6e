// Reads the next pieces of a file while the one before them is on its way to the reader.
//
// A program that copies a file asks for one piece after the other, and where the kernel does not
// cache, nothing would be decrypted while it takes one over. So a thread of its own fetches the
// pieces behind the one that is asked for, where that one followed on the one before it: two of
// them, so that it need not sleep, and be woken again, between one request and the next. One stream
// at a time: with several readers the processors are busy anyway. For devices that are only read:
// what was read ahead is never out of date. The devices outlive this. Any number of threads.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <thread>

#include "engine/block_device.h"
#include "frontends/fuse/transfer_buffer.h"

namespace latchkey::frontends {

class ReadAhead {
 public:
  ReadAhead();  // throws std::bad_alloc, std::system_error

  // device.read() into the first `length` bytes of `buffer`, whose memory may be exchanged for
  // another.
  engine::IoStatus read(engine::BlockDevice& device, std::uint64_t offset, std::size_t length,
                        TransferBuffer& buffer) noexcept;

 private:
  struct Piece {
    engine::BlockDevice* device = nullptr;
    std::uint64_t offset = 0;
    std::size_t length = 0;

    bool operator==(const Piece&) const = default;
    bool continues(const Piece& before) const noexcept {
      return device == before.device && offset == before.offset + before.length;
    }
  };
  enum class State { kIdle, kWanted, kReading, kReady };
  struct Slot {
    State state = State::kIdle;
    Piece piece;
    TransferBuffer buffer;  // the thread's own while the state is kReading
  };
  static constexpr std::size_t kPiecesAhead = 2;

  bool take(const Piece& piece, TransferBuffer& buffer, std::unique_lock<std::mutex>& lock);
  void want_behind(const Piece& piece) noexcept;
  Slot* slot_of(const Piece& piece) noexcept;
  Slot* next_wanted() noexcept;
  void run(const std::stop_token& stop) noexcept;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::array<Slot, kPiecesAhead> slots_;
  Piece last_;           // asked for
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace latchkey::frontends
