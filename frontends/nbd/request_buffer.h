// What a client has sent and nobody has looked at yet. One recv takes whatever is there: as a rule
// several requests at once. One allocation, at construction. One thread.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstring>
#include <memory>

#include "engine/bytes.h"
#include "frontends/nbd/byte_stream.h"
#include "frontends/nbd/protocol.h"

namespace latchkey::frontends::nbd {

// A write that is not streamed, whole, and room for the requests behind it.
inline constexpr std::size_t kRequestBufferBytes = kStreamAboveBytes + std::size_t{64} * 1024;

class RequestBuffer {
 public:
  explicit RequestBuffer(ByteStream& stream)
      : stream_(stream), storage_(new std::byte[kRequestBufferBytes]) {}

  engine::Bytes bytes() const noexcept { return {storage_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t count) noexcept {
    assert(count <= end_ - begin_);
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  // Waits for at least one more byte, with room for bytes() to become `wanted` long (at most
  // kRequestBufferBytes - kAheadBytes). False: the connection is over.
  bool receive(std::size_t wanted) noexcept {
    assert(wanted > end_ - begin_ && wanted + kAheadBytes <= kRequestBufferBytes);
    // Take little beyond what is wanted: a payload cut in two by the end of the buffer has to be
    // moved to its front.
    const std::size_t ask = wanted - (end_ - begin_) + kAheadBytes;
    if (kRequestBufferBytes - end_ < ask) {
      std::memmove(storage_.get(), storage_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    const std::size_t got = stream_.receive({storage_.get() + end_, ask});
    end_ += got;
    return got > 0;
  }

  static constexpr std::size_t kAheadBytes = std::size_t{32} << 10;  // more than 1000 read requests

 private:
  ByteStream& stream_;
  std::unique_ptr<std::byte[]> storage_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace latchkey::frontends::nbd
