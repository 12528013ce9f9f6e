// The numbers of the NBD protocol, as its specification names them (doc/proto.md of the
// NetworkBlockDevice project, section "Values"). Constants and the two fixed-size headers; no I/O.
// Everything on the wire is big-endian.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/bytes.h"

namespace latchkey::frontends::nbd {

inline constexpr std::uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;    // "IHAVEOPT"
inline constexpr std::uint64_t kOptionReplyMagic = 0x0003e889045565a9;
inline constexpr std::uint32_t kRequestMagic = 0x25609513;
inline constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr std::uint32_t kStructuredReplyMagic = 0x668e33ef;

// Handshake flags (server, 16 bits) and client flags (32 bits) share these two.
inline constexpr std::uint16_t kFlagFixedNewstyle = 1 << 0;
inline constexpr std::uint16_t kFlagNoZeroes = 1 << 1;

// Transmission flags.
inline constexpr std::uint16_t kFlagHasFlags = 1 << 0;
inline constexpr std::uint16_t kFlagReadOnly = 1 << 1;
inline constexpr std::uint16_t kFlagSendFlush = 1 << 2;
inline constexpr std::uint16_t kFlagSendFua = 1 << 3;
inline constexpr std::uint16_t kFlagSendTrim = 1 << 5;
inline constexpr std::uint16_t kFlagSendWriteZeroes = 1 << 6;
inline constexpr std::uint16_t kFlagSendDf = 1 << 7;
inline constexpr std::uint16_t kFlagCanMultiConn = 1 << 8;
inline constexpr std::uint16_t kFlagSendCache = 1 << 10;
inline constexpr std::uint16_t kFlagSendFastZero = 1 << 11;

// Options and their replies.
inline constexpr std::uint32_t kOptExportName = 1;
inline constexpr std::uint32_t kOptAbort = 2;
inline constexpr std::uint32_t kOptList = 3;
inline constexpr std::uint32_t kOptStartTls = 5;
inline constexpr std::uint32_t kOptInfo = 6;
inline constexpr std::uint32_t kOptGo = 7;
inline constexpr std::uint32_t kOptStructuredReply = 8;
inline constexpr std::uint32_t kOptListMetaContext = 9;
inline constexpr std::uint32_t kOptSetMetaContext = 10;

inline constexpr std::uint32_t kRepAck = 1;
inline constexpr std::uint32_t kRepServer = 2;
inline constexpr std::uint32_t kRepInfo = 3;
inline constexpr std::uint32_t kRepMetaContext = 4;
inline constexpr std::uint32_t kRepErrUnsupported = 0x80000001;
inline constexpr std::uint32_t kRepErrInvalid = 0x80000003;
inline constexpr std::uint32_t kRepErrUnknown = 0x80000006;
inline constexpr std::uint32_t kRepErrShutdown = 0x80000007;
inline constexpr std::uint32_t kRepErrTooBig = 0x80000009;

inline constexpr std::uint16_t kInfoExport = 0;
inline constexpr std::uint16_t kInfoName = 1;
inline constexpr std::uint16_t kInfoDescription = 2;
inline constexpr std::uint16_t kInfoBlockSize = 3;

// Commands and their flags.
inline constexpr std::uint16_t kCmdRead = 0;
inline constexpr std::uint16_t kCmdWrite = 1;
inline constexpr std::uint16_t kCmdDisconnect = 2;
inline constexpr std::uint16_t kCmdFlush = 3;
inline constexpr std::uint16_t kCmdTrim = 4;
inline constexpr std::uint16_t kCmdCache = 5;
inline constexpr std::uint16_t kCmdWriteZeroes = 6;
inline constexpr std::uint16_t kCmdBlockStatus = 7;

inline constexpr std::uint16_t kCmdFlagFua = 1 << 0;
inline constexpr std::uint16_t kCmdFlagNoHole = 1 << 1;
inline constexpr std::uint16_t kCmdFlagDf = 1 << 2;
inline constexpr std::uint16_t kCmdFlagReqOne = 1 << 3;
inline constexpr std::uint16_t kCmdFlagFastZero = 1 << 4;

// Structured reply chunks.
inline constexpr std::uint16_t kReplyFlagDone = 1 << 0;
inline constexpr std::uint16_t kReplyNone = 0;
inline constexpr std::uint16_t kReplyOffsetData = 1;
inline constexpr std::uint16_t kReplyBlockStatus = 5;
inline constexpr std::uint16_t kReplyError = 0x8001;
inline constexpr std::uint16_t kReplyErrorOffset = 0x8002;

// base:allocation
inline constexpr std::uint32_t kStateHole = 1 << 0;
inline constexpr std::uint32_t kStateZero = 1 << 1;
inline constexpr std::uint32_t kBaseAllocationId = 1;

inline constexpr std::size_t kOptionHeaderBytes = 16;
inline constexpr std::size_t kOptionReplyHeaderBytes = 20;
inline constexpr std::size_t kRequestBytes = 28;
inline constexpr std::size_t kSimpleReplyBytes = 16;
inline constexpr std::size_t kChunkHeaderBytes = 20;
inline constexpr std::size_t kDataChunkHeaderBytes = kChunkHeaderBytes + 8;  // with its offset
inline constexpr std::size_t kExportNamePaddingBytes = 124;
inline constexpr std::size_t kMaxStringBytes = 4096;  // "MUST be no longer than"

// Limits of this server.
inline constexpr std::uint32_t kMaxRequestBytes = 32U << 20;  // the protocol's default maximum
inline constexpr std::uint32_t kStreamAboveBytes = 1U << 20;  // longer requests go in pieces

struct Request {
  std::uint16_t flags;
  std::uint16_t command;
  std::uint64_t cookie;
  std::uint64_t offset;
  std::uint32_t length;

  bool has(std::uint16_t flag) const noexcept { return (flags & flag) != 0; }
};

// `from` holds at least kRequestBytes. False: the magic is wrong.
inline bool decode_request(engine::Bytes from, Request& out) noexcept {
  if (engine::load_be<std::uint32_t>(from, 0) != kRequestMagic) return false;
  out.flags = engine::load_be<std::uint16_t>(from, 4);
  out.command = engine::load_be<std::uint16_t>(from, 6);
  out.cookie = engine::load_be<std::uint64_t>(from, 8);
  out.offset = engine::load_be<std::uint64_t>(from, 16);
  out.length = engine::load_be<std::uint32_t>(from, 24);
  return true;
}

inline void encode_simple_reply(engine::MutableBytes into, std::uint64_t cookie,
                                std::uint32_t error) noexcept {
  engine::store_be<std::uint32_t>(into, 0, kSimpleReplyMagic);
  engine::store_be<std::uint32_t>(into, 4, error);
  engine::store_be<std::uint64_t>(into, 8, cookie);
}

inline void encode_chunk_header(engine::MutableBytes into, std::uint16_t flags, std::uint16_t type,
                                std::uint64_t cookie, std::size_t payload_bytes) noexcept {
  engine::store_be<std::uint32_t>(into, 0, kStructuredReplyMagic);
  engine::store_be<std::uint16_t>(into, 4, flags);
  engine::store_be<std::uint16_t>(into, 6, type);
  engine::store_be<std::uint64_t>(into, 8, cookie);
  engine::store_be<std::uint32_t>(into, 16, static_cast<std::uint32_t>(payload_bytes));
}

}  // namespace latchkey::frontends::nbd
