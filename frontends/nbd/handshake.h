// The first phase of a connection: greeting and option haggling, until the client has chosen an
// export or given up. NBD, "Fixed newstyle negotiation".
//
// Everything the client sends is bounded: an option's data at kMaxOptionBytes (a longer one is
// skipped and refused, a very long one ends the connection). The time limit is the server's: it
// shuts the socket down, which ends receive().
#pragma once

#include <cstdint>
#include <optional>

#include "frontends/export.h"
#include "frontends/nbd/byte_stream.h"

namespace latchkey::frontends::nbd {

inline constexpr std::uint32_t kMaxOptionBytes = 64 * 1024;
inline constexpr std::uint32_t kMaxSkippedOptionBytes = 1024 * 1024;

// What was agreed on. Points into the ExportList given to the handshake.
struct Session {
  const Export* exported = nullptr;
  bool structured_replies = false;
  bool block_status = false;  // base:allocation was selected for this very export
  bool allow_discard = false;
};

std::uint16_t transmission_flags(const Session& session) noexcept;

// Empty: the connection is over (the client aborted, vanished, broke the protocol, or asked by
// NBD_OPT_EXPORT_NAME for what does not exist).
std::optional<Session> negotiate(ByteStream& stream, const ExportList& exports, bool allow_discard);

}  // namespace latchkey::frontends::nbd
