// A client that sends exactly the bytes a test wants, right or wrong, and takes answers apart. A
// receive that waits for more than 30 seconds is a failure of the server, reported as one.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "frontends/nbd/protocol.h"

namespace latchkey::frontends {

using ByteVector = std::vector<std::byte>;

// Builds a big-endian message field by field.
class Message {
 public:
  Message& u16(std::uint16_t value) { return put(value); }
  Message& u32(std::uint32_t value) { return put(value); }
  Message& u64(std::uint64_t value) { return put(value); }
  Message& text(std::string_view value) {
    const engine::Bytes bytes = engine::as_bytes(value);
    return raw(bytes);
  }
  Message& string(std::string_view value) {  // with its length before it
    return u32(static_cast<std::uint32_t>(value.size())).text(value);
  }
  Message& raw(engine::Bytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  const ByteVector& bytes() const { return bytes_; }
  operator engine::Bytes() const { return bytes_; }  // NOLINT: it is the message

 private:
  template <class T>
  Message& put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    engine::store_be<T>(bytes_, at, value);
    return *this;
  }
  ByteVector bytes_;
};

inline ByteVector request(std::uint16_t command, std::uint16_t flags, std::uint64_t cookie,
                          std::uint64_t offset, std::uint32_t length, engine::Bytes payload = {}) {
  return Message()
      .u32(nbd::kRequestMagic)
      .u16(flags)
      .u16(command)
      .u64(cookie)
      .u64(offset)
      .u32(length)
      .raw(payload)
      .bytes();
}

struct OptionReply {
  std::uint32_t option = 0;
  std::uint32_t type = 0;
  ByteVector data;
  std::string text() const { return {reinterpret_cast<const char*>(data.data()), data.size()}; }
};

struct Chunk {
  std::uint16_t flags = 0;
  std::uint16_t type = 0;
  std::uint64_t cookie = 0;
  ByteVector payload;

  bool done() const { return (flags & nbd::kReplyFlagDone) != 0; }
  std::uint64_t offset() const { return engine::load_be<std::uint64_t>(payload, 0); }
  engine::Bytes data() const { return engine::Bytes(payload).subspan(8); }
  std::uint32_t error() const { return engine::load_be<std::uint32_t>(payload, 0); }
  std::uint64_t error_offset() const {
    return engine::load_be<std::uint64_t>(payload, payload.size() - 8);
  }
};

struct SimpleReply {
  std::uint32_t error = 0;
  std::uint64_t cookie = 0;
};

class RawClient {
 public:
  explicit RawClient(const std::string& socket_path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    EXPECT_LT(socket_path.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    connect_to(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  // TCP, on 127.0.0.1.
  explicit RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect_to(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  ~RawClient() { disconnect(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  int fd() const { return fd_; }
  void disconnect() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  // False: the server closed the connection.
  bool send(engine::Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // As many bytes as come before the connection ends, at most `count`.
  ByteVector receive_up_to(std::size_t count) {
    ByteVector into(count);
    std::size_t have = 0;
    while (have < count) {
      const ssize_t got = ::recv(fd_, into.data() + have, count - have, 0);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        ADD_FAILURE() << "no answer within 30 seconds";
        break;
      }
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    into.resize(have);
    return into;
  }
  ByteVector receive(std::size_t count) {
    ByteVector into = receive_up_to(count);
    EXPECT_EQ(count, into.size()) << "the connection ended early";
    into.resize(count);
    return into;
  }
  // Does the server close the connection without another byte?
  bool closed() { return receive_up_to(1).empty(); }

  // Handshake.
  void greet(std::uint32_t client_flags = nbd::kFlagFixedNewstyle | nbd::kFlagNoZeroes) {
    const ByteVector hello = receive(18);
    EXPECT_EQ(nbd::kGreetingMagic, engine::load_be<std::uint64_t>(hello, 0));
    EXPECT_EQ(nbd::kOptionMagic, engine::load_be<std::uint64_t>(hello, 8));
    EXPECT_EQ(3, engine::load_be<std::uint16_t>(hello, 16));
    send(Message().u32(client_flags));
  }
  bool option(std::uint32_t number, engine::Bytes data = {}) {
    return send(Message()
                    .u64(nbd::kOptionMagic)
                    .u32(number)
                    .u32(static_cast<std::uint32_t>(data.size()))
                    .raw(data));
  }
  OptionReply option_reply() {
    const ByteVector header = receive(nbd::kOptionReplyHeaderBytes);
    EXPECT_EQ(nbd::kOptionReplyMagic, engine::load_be<std::uint64_t>(header, 0));
    OptionReply reply;
    reply.option = engine::load_be<std::uint32_t>(header, 8);
    reply.type = engine::load_be<std::uint32_t>(header, 12);
    reply.data = receive(engine::load_be<std::uint32_t>(header, 16));
    return reply;
  }
  // One option with one reply: its type.
  std::uint32_t ask(std::uint32_t number, engine::Bytes data = {}) {
    EXPECT_TRUE(option(number, data));
    const OptionReply reply = option_reply();
    EXPECT_EQ(number, reply.option);
    return reply.type;
  }
  // Every reply up to the final one, which is last.
  std::vector<OptionReply> ask_all(std::uint32_t number, engine::Bytes data = {}) {
    EXPECT_TRUE(option(number, data));
    std::vector<OptionReply> replies;
    do {
      replies.push_back(option_reply());
    } while (replies.back().type != nbd::kRepAck && replies.back().type < 0x80000000);
    return replies;
  }
  static ByteVector go_data(std::string_view name, const std::vector<std::uint16_t>& infos = {}) {
    Message message;
    message.string(name).u16(static_cast<std::uint16_t>(infos.size()));
    for (const std::uint16_t info : infos) message.u16(info);
    return message.bytes();
  }
  static ByteVector context_data(std::string_view name, const std::vector<std::string>& queries) {
    Message message;
    message.string(name).u32(static_cast<std::uint32_t>(queries.size()));
    for (const std::string& query : queries) message.string(query);
    return message.bytes();
  }

  // Greeting up to transmission. Returns the transmission flags.
  std::uint16_t connect(bool structured, bool block_status = false, std::string_view name = "") {
    greet();
    if (structured) {
      EXPECT_EQ(nbd::kRepAck, ask(nbd::kOptStructuredReply));
    }
    if (block_status) {
      EXPECT_EQ(2U,
                ask_all(nbd::kOptSetMetaContext, context_data(name, {"base:allocation"})).size());
    }
    const std::vector<OptionReply> replies = ask_all(nbd::kOptGo, go_data(name));
    EXPECT_EQ(nbd::kRepAck, replies.back().type);
    EXPECT_EQ(nbd::kRepInfo, replies.front().type);
    EXPECT_EQ(12U, replies.front().data.size());
    return engine::load_be<std::uint16_t>(replies.front().data, 10);
  }

  // Transmission.
  SimpleReply simple_reply() {
    const ByteVector header = receive(nbd::kSimpleReplyBytes);
    EXPECT_EQ(nbd::kSimpleReplyMagic, engine::load_be<std::uint32_t>(header, 0));
    return {engine::load_be<std::uint32_t>(header, 4), engine::load_be<std::uint64_t>(header, 8)};
  }
  Chunk chunk() {
    const ByteVector header = receive(nbd::kChunkHeaderBytes);
    EXPECT_EQ(nbd::kStructuredReplyMagic, engine::load_be<std::uint32_t>(header, 0));
    Chunk chunk;
    chunk.flags = engine::load_be<std::uint16_t>(header, 4);
    chunk.type = engine::load_be<std::uint16_t>(header, 6);
    chunk.cookie = engine::load_be<std::uint64_t>(header, 8);
    chunk.payload = receive(engine::load_be<std::uint32_t>(header, 16));
    return chunk;
  }
  // Is the connection alive and in step? A one-byte read says so.
  void expect_alive(bool structured) {
    ASSERT_TRUE(send(request(nbd::kCmdRead, 0, 0xa11fe, 3, 1)));
    if (structured) {
      const Chunk reply = chunk();
      EXPECT_EQ(0xa11feU, reply.cookie);
      EXPECT_EQ(9U, reply.payload.size());
    } else {
      const SimpleReply reply = simple_reply();
      EXPECT_EQ(0xa11feU, reply.cookie);
      EXPECT_EQ(0U, reply.error);
      receive(1);
    }
  }

 private:
  void connect_to(const sockaddr* address, socklen_t size) {
    EXPECT_EQ(0, ::connect(fd_, address, size)) << std::strerror(errno);
    const timeval limit{30, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }

  int fd_ = -1;
};

}  // namespace latchkey::frontends
