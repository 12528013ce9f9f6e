// Answers waiting to go out in one sendmsg. Data is read from the device straight into its place
// here and sent from there: one buffer from storage to socket.
//
// One allocation, at construction. A message is a header directly followed by its data; the data
// starts on a cache line, because a cipher writes it, so there are gaps between messages, which are
// never sent. After the connection is lost everything goes on working and nothing is sent.
// One thread. NBD, "Simple reply message" and "Structured reply chunk message".
#pragma once

#include <array>
#include <memory>

#include <sys/uio.h>

#include "engine/bytes.h"
#include "frontends/nbd/byte_stream.h"
#include "frontends/nbd/protocol.h"
#include "frontends/nbd/wire_error.h"

namespace latchkey::frontends::nbd {

// The largest unfragmented answer, and room for small ones before it.
inline constexpr std::size_t kReplyBufferBytes = kStreamAboveBytes + std::size_t{64} * 1024;

class ReplyQueue {
 public:
  ReplyQueue(ByteStream& stream, bool structured_replies);

  // Room for one message's data, at most kStreamAboveBytes; sends what is waiting when there is
  // none. What is put there goes out only if one of the functions below says so before the next
  // call, each with a `data_bytes` of at most what was reserved.
  engine::MutableBytes reserve(std::size_t data_bytes) noexcept;
  void read_data(const Request& request, std::uint64_t offset, std::size_t data_bytes,
                 bool last) noexcept;  // structured: one OFFSET_DATA chunk
  void simple_data(const Request& request, std::size_t data_bytes) noexcept;  // with its header
  void more_data(std::size_t data_bytes) noexcept;  // the rest of a simple reply, no header
  void block_status(const Request& request, std::size_t descriptor_bytes) noexcept;

  // Answers without data. An error goes with its words where replies are structured, and with the
  // place where reading failed if `at` is given.
  void done(const Request& request) noexcept;
  void error(const Request& request, WireError error) noexcept;
  void error_at(const Request& request, WireError error, std::uint64_t at) noexcept;

  std::size_t waiting_bytes() const noexcept { return waiting_bytes_; }
  bool send() noexcept;  // false: the connection is over
  bool lost() const noexcept { return lost_; }

 private:
  static constexpr std::size_t kMaxHeaderBytes = 64;  // a cache line
  static constexpr std::size_t kMaxParts = 256;       // well under the kernel's 1024

  // The `header_bytes` before the reserved data.
  engine::MutableBytes header(std::size_t header_bytes) noexcept;
  void push(std::size_t header_bytes, std::size_t data_bytes) noexcept;
  void chunk_error(const Request& request, WireError error, const std::uint64_t* at) noexcept;

  ByteStream& stream_;
  const bool structured_;
  bool lost_ = false;
  std::unique_ptr<std::byte[]> storage_;
  engine::MutableBytes buffer_;  // the aligned part of storage_
  std::size_t data_at_ = kMaxHeaderBytes;
  std::size_t waiting_bytes_ = 0;
  std::size_t part_count_ = 0;
  std::array<iovec, kMaxParts> parts_;
};

}  // namespace latchkey::frontends::nbd
