// The second phase of a connection: requests in, answers out, until the client disconnects, breaks
// the protocol, or the server stops. NBD, "Transmission".
//
// Takes whatever has arrived in one receive, tells the device about every read in it, serves all of
// it in order, and answers in one send. A request above kStreamAboveBytes goes in pieces: a write's
// are applied as they arrive (after the device said that it would take the whole), a read's are
// sent as they are read. Memory is two buffers of 1 MiB and a bit, whatever the client asks for,
// and nothing is allocated once it runs, but for one kind of request: a write above
// kStreamAboveBytes of which the device says that its bytes decide (kOnlyZeros) is taken into
// memory whole, before a byte of it is applied. There is one of those at a time in the whole server
// (whole_writes.h).
#pragma once

#include "frontends/nbd/handshake.h"
#include "frontends/nbd/reply_queue.h"
#include "frontends/nbd/request_buffer.h"
#include "frontends/nbd/whole_writes.h"

namespace latchkey::frontends::nbd {

class Transmission {
 public:
  // All outlive it. Throws std::bad_alloc where there is no room for the buffers.
  Transmission(ByteStream& stream, const Session& session, const WholeWrites& whole_writes);

  // Serves until the connection is over. What was fully received is always answered.
  void run() noexcept;

 private:
  enum class Step { kServed, kNeedMore, kClose };

  Step serve_next() noexcept;
  void serve(const Request& request, engine::Bytes payload) noexcept;
  void hint_reads() noexcept;

  WireError check(const Request& request) const noexcept;
  WireError check_writing(const Request& request) const noexcept;
  void read(const Request& request) noexcept;
  bool stream_read(const Request& request) noexcept;
  bool stream_write(const Request& request) noexcept;
  bool write_whole(const Request& request) noexcept;
  template <class Apply>
  bool take_payload(const Request& request, WireError& error, const Apply& apply) noexcept;
  engine::IoStatus change(const Request& request, engine::Bytes payload) noexcept;
  void block_status(const Request& request) noexcept;
  void answer(const Request& request, WireError error) noexcept;

  const Session session_;
  const WholeWrites& whole_writes_;
  engine::BlockDevice& device_;
  ByteStream& stream_;
  RequestBuffer requests_;
  ReplyQueue replies_;
  std::size_t wanted_bytes_ = kRequestBytes;  // what the next request needs to be complete
};

}  // namespace latchkey::frontends::nbd
