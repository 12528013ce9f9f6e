// A connected socket as a ByteStream: blocking calls, nothing between the caller's buffer and the
// kernel. The server wakes a blocked receive() with shutdown(SHUT_RD), and ends a send() to a
// client that does not read with shutdown(SHUT_RDWR); see server.cc.
#pragma once

#include <atomic>

#include "frontends/nbd/byte_stream.h"

namespace latchkey::frontends::nbd {

class SocketStream final : public ByteStream {
 public:
  // Owns neither; both outlive the stream. Sets the socket's options (no delay, buffer sizes).
  SocketStream(int socket, const std::atomic<bool>& stopping) noexcept;

  std::size_t receive(engine::MutableBytes into) noexcept override;
  bool send(std::span<iovec> parts) noexcept override;
  bool wait_for(int descriptor, std::size_t to_come) noexcept override;
  bool stopping() const noexcept override { return stopping_.load(std::memory_order_acquire); }

  // Says goodbye so that the client still gets every answer: a TCP socket closed with unread input
  // resets the connection and may take answers under way with it.
  void finish() noexcept;

 private:
  const int socket_;
  const std::atomic<bool>& stopping_;
  bool counted_ = false;        // stopping only: has what had arrived been counted?
  std::size_t left_bytes_ = 0;  // and how much of it is still to be taken
};

}  // namespace latchkey::frontends::nbd
