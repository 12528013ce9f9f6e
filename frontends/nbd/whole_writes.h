// Memory for writes that can neither be streamed nor refused before their bytes are known: the
// device takes only zeros in a part of the range (engine::IoCode::kOnlyZeros), so all of a request,
// up to kMaxRequestBytes, has to be seen before its first byte may be written.
//
// One such write at a time in a server, so that its memory stays bounded whatever clients send;
// the others wait for their turn. A client that goes away gives up its turn or its place in the
// line. One that stops in the middle of its payload holds up the other clients' writes of this kind
// until it goes on or away, and nothing else.
//
// Thread-safe. Errors: no memory is told apart from a lost connection.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/unique_fd.h"
#include "frontends/nbd/byte_stream.h"

namespace latchkey::frontends::nbd {

class WholeWrites {
 public:
  // The turn, and memory for the request; ends with the scope.
  class Turn {
   public:
    Turn(Turn&& other) noexcept;
    Turn& operator=(Turn&&) = delete;
    ~Turn();
    // Empty: there was no memory.
    engine::MutableBytes bytes() const noexcept { return {bytes_.get(), bytes_ ? size_ : 0}; }

   private:
    friend class WholeWrites;
    Turn(const WholeWrites& line, std::size_t size) noexcept;
    const WholeWrites* line_;
    std::size_t size_;
    std::unique_ptr<std::byte[]> bytes_;
  };

  // kSystem: no descriptor to wait on.
  static engine::Result<WholeWrites> make();

  // Waits for the turn. `to_come`: how much of the request the stream has still to deliver. Empty:
  // the connection is over, or too little of the request will ever come.
  std::optional<Turn> take(ByteStream& stream, std::size_t size,
                           std::size_t to_come) const noexcept;

 private:
  explicit WholeWrites(engine::UniqueFd turns) noexcept : turns_(std::move(turns)) {}
  void give_back() const noexcept;

  engine::UniqueFd turns_;  // an eventfd, as a semaphore of one: poll() can wait for it
};

}  // namespace latchkey::frontends::nbd
