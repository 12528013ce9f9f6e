// Both directions of one client's connection, as the protocol code sees them: a socket in the
// server, a byte array in a fuzz target. One thread uses a stream.
#pragma once

#include <cstddef>
#include <span>

#include <sys/uio.h>

#include "engine/bytes.h"

namespace latchkey::frontends::nbd {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  // Waits for at least one byte and takes as many as there are and fit. 0: the connection is over,
  // whatever the reason.
  virtual std::size_t receive(engine::MutableBytes into) noexcept = 0;

  // Sends every byte; may change the vector. False: the connection is over.
  virtual bool send(std::span<iovec> parts) noexcept = 0;

  // Is the server stopping? Then receive() yields what had arrived by then, and nothing more.
  virtual bool stopping() const noexcept = 0;

  // Waits until another descriptor is readable, without taking anything from the stream. False:
  // the connection is over, or its other side will never send the `to_come` bytes that are missing.
  virtual bool wait_for(int descriptor, std::size_t to_come) noexcept = 0;

  bool receive_exactly(engine::MutableBytes into) noexcept {
    while (!into.empty()) {
      const std::size_t got = receive(into);
      if (got == 0) return false;
      into = into.subspan(got);
    }
    return true;
  }
};

}  // namespace latchkey::frontends::nbd
