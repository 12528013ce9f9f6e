#include "frontends/nbd/reply_queue.h"

#include <algorithm>
#include <cassert>

namespace latchkey::frontends::nbd {

namespace {
constexpr std::size_t kLineBytes = 64;
}

ReplyQueue::ReplyQueue(ByteStream& stream, bool structured_replies)
    : stream_(stream),
      structured_(structured_replies),
      // not value-initialised: pages that no answer needs are never touched
      storage_(new std::byte[kReplyBufferBytes + kLineBytes]) {
  const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
  const std::size_t skip = engine::round_up(address, kLineBytes) - address;
  buffer_ = {storage_.get() + skip, kReplyBufferBytes};
}

engine::MutableBytes ReplyQueue::reserve(std::size_t data_bytes) noexcept {
  assert(data_bytes <= kStreamAboveBytes);
  const bool full = data_at_ > buffer_.size() || data_bytes > buffer_.size() - data_at_;
  if (full || part_count_ == kMaxParts) send();
  return buffer_.subspan(data_at_, data_bytes);
}

engine::MutableBytes ReplyQueue::header(std::size_t header_bytes) noexcept {
  assert(header_bytes <= kMaxHeaderBytes);
  return buffer_.subspan(data_at_ - header_bytes, header_bytes);
}

void ReplyQueue::push(std::size_t header_bytes, std::size_t data_bytes) noexcept {
  const std::size_t bytes = header_bytes + data_bytes;
  parts_[part_count_++] = {buffer_.data() + data_at_ - header_bytes, bytes};
  waiting_bytes_ += bytes;
  // may lie past the end: then reserve() finds it full
  data_at_ = engine::round_up(data_at_ + data_bytes, kLineBytes) + kMaxHeaderBytes;
}

void ReplyQueue::read_data(const Request& request, std::uint64_t offset, std::size_t data_bytes,
                           bool last) noexcept {
  const engine::MutableBytes into = header(kDataChunkHeaderBytes);
  encode_chunk_header(into, last ? kReplyFlagDone : std::uint16_t{0}, kReplyOffsetData,
                      request.cookie, 8 + data_bytes);
  engine::store_be<std::uint64_t>(into, kChunkHeaderBytes, offset);
  push(kDataChunkHeaderBytes, data_bytes);
}

void ReplyQueue::simple_data(const Request& request, std::size_t data_bytes) noexcept {
  encode_simple_reply(header(kSimpleReplyBytes), request.cookie, 0);
  push(kSimpleReplyBytes, data_bytes);
}

void ReplyQueue::more_data(std::size_t data_bytes) noexcept {
  push(0, data_bytes);
}

void ReplyQueue::block_status(const Request& request, std::size_t descriptor_bytes) noexcept {
  const engine::MutableBytes into = header(kChunkHeaderBytes + 4);
  encode_chunk_header(into, kReplyFlagDone, kReplyBlockStatus, request.cookie,
                      4 + descriptor_bytes);
  engine::store_be<std::uint32_t>(into, kChunkHeaderBytes, kBaseAllocationId);
  push(kChunkHeaderBytes + 4, descriptor_bytes);
}

void ReplyQueue::done(const Request& request) noexcept {
  reserve(0);
  if (structured_ && request.command == kCmdRead) {
    encode_chunk_header(header(kChunkHeaderBytes), kReplyFlagDone, kReplyNone, request.cookie, 0);
    push(kChunkHeaderBytes, 0);
  } else {
    simple_data(request, 0);
  }
}

void ReplyQueue::error(const Request& request, WireError error) noexcept {
  chunk_error(request, error, nullptr);
}

void ReplyQueue::error_at(const Request& request, WireError error, std::uint64_t at) noexcept {
  chunk_error(request, error, &at);
}

void ReplyQueue::chunk_error(const Request& request, WireError error,
                             const std::uint64_t* at) noexcept {
  if (!structured_) {
    reserve(0);
    encode_simple_reply(header(kSimpleReplyBytes), request.cookie,
                        static_cast<std::uint32_t>(error.value));
    push(kSimpleReplyBytes, 0);
    return;
  }
  const std::size_t payload_bytes = 6 + error.text.size() + (at != nullptr ? 8 : 0);
  const engine::MutableBytes payload = reserve(payload_bytes);
  engine::store_be<std::uint32_t>(payload, 0, static_cast<std::uint32_t>(error.value));
  engine::store_be<std::uint16_t>(payload, 4, static_cast<std::uint16_t>(error.text.size()));
  std::ranges::copy(engine::as_bytes(error.text), payload.begin() + 6);
  if (at != nullptr) engine::store_be<std::uint64_t>(payload, payload_bytes - 8, *at);
  encode_chunk_header(header(kChunkHeaderBytes), kReplyFlagDone,
                      at != nullptr ? kReplyErrorOffset : kReplyError, request.cookie,
                      payload_bytes);
  push(kChunkHeaderBytes, payload_bytes);
}

bool ReplyQueue::send() noexcept {
  if (part_count_ > 0 && !lost_) {
    lost_ = !stream_.send(std::span(parts_).first(part_count_));
  }
  part_count_ = 0;
  waiting_bytes_ = 0;
  data_at_ = kMaxHeaderBytes;
  return !lost_;
}

}  // namespace latchkey::frontends::nbd
