#include "frontends/nbd/handshake.h"

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "frontends/nbd/option_reader.h"
#include "frontends/nbd/protocol.h"

namespace latchkey::frontends::nbd {

namespace {

using engine::Bytes;

// Ten times what a real client asks for; more is refused rather than answered at length.
constexpr std::uint32_t kMaxQueries = 1024;
constexpr std::string_view kBaseAllocation = "base:allocation";

enum class Verdict { kNextOption, kEnd, kTransmission };

class Handshake {
 public:
  Handshake(ByteStream& stream, const ExportList& exports, bool allow_discard)
      : stream_(stream), exports_(exports) {
    session_.allow_discard = allow_discard;
  }

  std::optional<Session> run() {
    if (!greet()) return std::nullopt;
    while (true) {
      switch (next_option()) {
        case Verdict::kNextOption:
          continue;
        case Verdict::kEnd:
          return std::nullopt;
        case Verdict::kTransmission:
          return session_;
      }
    }
  }

 private:
  bool greet();
  Verdict next_option();
  Verdict dispatch(Bytes data);
  Verdict too_big(std::uint32_t length);
  Verdict export_name(Bytes data);
  Verdict list(Bytes data);
  Verdict info_or_go(Bytes data);
  bool send_info(const Export& chosen, bool name, bool description, bool block_size);
  Verdict structured_reply(Bytes data);
  Verdict meta_context(Bytes data);

  bool send(Bytes bytes) {
    // sendmsg() reads through this pointer only; iovec has no const form
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return stream_.send({&part, 1});
  }
  bool reply(std::uint32_t type, Bytes data = {});
  Verdict answer(std::uint32_t type, std::string_view text = {}) {
    return reply(type, engine::as_bytes(text)) ? Verdict::kNextOption : Verdict::kEnd;
  }
  const Export* find(std::string_view name) const {
    return name.empty() ? &exports_.default_export() : exports_.find(std::string(name));
  }
  void choose(const Export* chosen) {
    session_.exported = chosen;
    // Contexts hold for the export they were selected for, by whichever of its names.
    session_.block_status = session_.structured_replies && context_export_ == chosen;
  }

  ByteStream& stream_;
  const ExportList& exports_;
  Session session_;
  bool no_zeroes_ = false;
  std::uint32_t option_ = 0;                // the one being answered
  const Export* context_export_ = nullptr;  // base:allocation is selected for this one
};

bool Handshake::greet() {
  std::array<std::byte, 18> hello;
  engine::store_be<std::uint64_t>(hello, 0, kGreetingMagic);
  engine::store_be<std::uint64_t>(hello, 8, kOptionMagic);
  engine::store_be<std::uint16_t>(hello, 16, kFlagFixedNewstyle | kFlagNoZeroes);
  if (!send(hello)) return false;
  std::array<std::byte, 4> answered;
  if (!stream_.receive_exactly(answered)) return false;
  const auto flags = engine::load_be<std::uint32_t>(answered, 0);
  no_zeroes_ = (flags & kFlagNoZeroes) != 0;
  // "the server MUST drop the TCP connection if the client sets an unknown flag"
  return (flags & ~std::uint32_t{kFlagFixedNewstyle | kFlagNoZeroes}) == 0;
}

bool Handshake::reply(std::uint32_t type, Bytes data) {
  std::vector<std::byte> message(kOptionReplyHeaderBytes + data.size());
  engine::store_be<std::uint64_t>(message, 0, kOptionReplyMagic);
  engine::store_be<std::uint32_t>(message, 8, option_);
  engine::store_be<std::uint32_t>(message, 12, type);
  engine::store_be<std::uint32_t>(message, 16, static_cast<std::uint32_t>(data.size()));
  std::copy(data.begin(), data.end(), message.begin() + kOptionReplyHeaderBytes);
  return send(message);
}

Verdict Handshake::next_option() {
  std::array<std::byte, kOptionHeaderBytes> header;
  if (!stream_.receive_exactly(header)) return Verdict::kEnd;
  if (engine::load_be<std::uint64_t>(header, 0) != kOptionMagic) return Verdict::kEnd;
  option_ = engine::load_be<std::uint32_t>(header, 8);
  const auto length = engine::load_be<std::uint32_t>(header, 12);
  if (length > kMaxOptionBytes) return too_big(length);
  std::vector<std::byte> data(length);
  if (!stream_.receive_exactly(data)) return Verdict::kEnd;
  if (stream_.stopping() && option_ != kOptAbort && option_ != kOptExportName) {
    return answer(kRepErrShutdown, "the server is shutting down");
  }
  return dispatch(data);
}

Verdict Handshake::too_big(std::uint32_t length) {
  if (length > kMaxSkippedOptionBytes || option_ == kOptExportName) return Verdict::kEnd;
  std::vector<std::byte> sink(4096);
  while (length > 0) {
    const auto piece = std::min<std::uint32_t>(length, static_cast<std::uint32_t>(sink.size()));
    if (!stream_.receive_exactly(engine::MutableBytes(sink).first(piece))) return Verdict::kEnd;
    length -= piece;
  }
  return answer(kRepErrTooBig, fmt::format("option data above {} bytes", kMaxOptionBytes));
}

Verdict Handshake::dispatch(Bytes data) {
  switch (option_) {
    case kOptExportName:
      return export_name(data);
    case kOptAbort:
      reply(kRepAck);  // the client may be gone already; either way this is the end
      return Verdict::kEnd;
    case kOptList:
      return list(data);
    case kOptInfo:
    case kOptGo:
      return info_or_go(data);
    case kOptStructuredReply:
      return structured_reply(data);
    case kOptListMetaContext:
    case kOptSetMetaContext:
      return meta_context(data);
    case kOptStartTls:
      return answer(kRepErrUnsupported, "tls is not supported");
    default:
      return answer(kRepErrUnsupported, fmt::format("option {} is not known", option_));
  }
}

Verdict Handshake::export_name(Bytes data) {
  const Export* chosen = find(as_text(data));
  if (chosen == nullptr) return Verdict::kEnd;  // this option has no error reply
  choose(chosen);
  std::array<std::byte, 10 + kExportNamePaddingBytes> message{};
  engine::store_be<std::uint64_t>(message, 0, chosen->device->size_bytes());
  engine::store_be<std::uint16_t>(message, 8, transmission_flags(session_));
  const bool sent = send(Bytes(message).first(no_zeroes_ ? 10 : message.size()));
  return sent ? Verdict::kTransmission : Verdict::kEnd;
}

Verdict Handshake::list(Bytes data) {
  if (!data.empty()) return answer(kRepErrInvalid, "list takes no data");
  for (const Export& each : exports_.exports) {
    std::vector<std::byte> entry(4);
    engine::store_be<std::uint32_t>(entry, 0, static_cast<std::uint32_t>(each.name.size()));
    append(entry, each.name);
    append(entry, std::string_view(each.description).substr(0, kMaxStringBytes));
    if (!reply(kRepServer, entry)) return Verdict::kEnd;
  }
  return answer(kRepAck);
}

Verdict Handshake::info_or_go(Bytes data) {
  OptionReader reader(data);
  const auto name = reader.string();
  const auto count = reader.number16();
  if (!name || !count || reader.left() != std::size_t{2} * *count) {
    return answer(kRepErrInvalid, "malformed export request");
  }
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
  for (unsigned i = 0; i < *count; ++i) {
    const auto wanted = reader.number16();
    if (wanted == kInfoName) wants_name = true;
    if (wanted == kInfoDescription) wants_description = true;
    if (wanted == kInfoBlockSize) wants_block_size = true;
  }
  const Export* chosen = find(*name);
  if (chosen == nullptr) {
    return answer(kRepErrUnknown,
                  fmt::format("no export '{}' here", engine::printable(name->substr(0, 256))));
  }
  if (!send_info(*chosen, wants_name, wants_description, wants_block_size)) return Verdict::kEnd;
  if (option_ == kOptInfo) return answer(kRepAck);
  choose(chosen);
  return reply(kRepAck) ? Verdict::kTransmission : Verdict::kEnd;
}

bool Handshake::send_info(const Export& chosen, bool name, bool description, bool block_size) {
  Session as_chosen = session_;
  as_chosen.exported = &chosen;
  std::array<std::byte, 14> block;
  engine::store_be<std::uint16_t>(block, 0, kInfoExport);
  engine::store_be<std::uint64_t>(block, 2, chosen.device->size_bytes());
  engine::store_be<std::uint16_t>(block, 10, transmission_flags(as_chosen));
  if (!reply(kRepInfo, Bytes(block).first(12))) return false;
  const auto send_text = [this](std::uint16_t type, std::string_view text) {
    std::vector<std::byte> info(2);
    engine::store_be<std::uint16_t>(info, 0, type);
    append(info, text.substr(0, kMaxStringBytes));
    return reply(kRepInfo, info);
  };
  if (name && !send_text(kInfoName, chosen.name)) return false;
  if (description && !chosen.description.empty() &&
      !send_text(kInfoDescription, chosen.description)) {
    return false;
  }
  if (!block_size) return true;
  // Any byte can be addressed; below a page a request costs as much as a page. The protocol wants
  // a power of two between 512 and the largest request.
  std::uint32_t preferred = 4096;
  while (preferred < chosen.device->geometry().sector_bytes && preferred < kStreamAboveBytes) {
    preferred *= 2;
  }
  engine::store_be<std::uint16_t>(block, 0, kInfoBlockSize);
  engine::store_be<std::uint32_t>(block, 2, 1);
  engine::store_be<std::uint32_t>(block, 6, preferred);
  engine::store_be<std::uint32_t>(block, 10, kMaxRequestBytes);
  return reply(kRepInfo, block);
}

Verdict Handshake::structured_reply(Bytes data) {
  if (!data.empty()) return answer(kRepErrInvalid, "structured replies take no data");
  session_.structured_replies = true;
  return answer(kRepAck);
}

Verdict Handshake::meta_context(Bytes data) {
  const bool setting = option_ == kOptSetMetaContext;
  // "replaces all previously-set metadata contexts", also where it fails
  if (setting) context_export_ = nullptr;
  if (!session_.structured_replies) {
    return answer(kRepErrInvalid, "metadata contexts need structured replies first");
  }
  OptionReader reader(data);
  const auto name = reader.string();
  const auto count = reader.number32();
  if (!name || !count) return answer(kRepErrInvalid, "malformed metadata context request");
  if (*count > kMaxQueries) return answer(kRepErrTooBig, "too many metadata context queries");
  bool selected = !setting && *count == 0;  // a list without queries asks for everything
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto query = reader.string();
    if (!query) return answer(kRepErrInvalid, "malformed metadata context query");
    // The wildcard "base:" lists its namespace; it selects nothing.
    if (*query == kBaseAllocation || (!setting && *query == "base:")) selected = true;
  }
  if (reader.left() != 0) return answer(kRepErrInvalid, "malformed metadata context request");
  const Export* chosen = find(*name);
  if (chosen == nullptr) return answer(kRepErrUnknown, "no such export here");
  if (selected) {
    std::vector<std::byte> context(4);
    engine::store_be<std::uint32_t>(context, 0, setting ? kBaseAllocationId : 0);
    append(context, kBaseAllocation);
    if (!reply(kRepMetaContext, context)) return Verdict::kEnd;
    if (setting) context_export_ = chosen;
  }
  return answer(kRepAck);
}

}  // namespace

std::uint16_t transmission_flags(const Session& session) noexcept {
  unsigned flags = kFlagHasFlags | kFlagSendFlush | kFlagSendCache | kFlagCanMultiConn;
  if (session.structured_replies) flags |= kFlagSendDf;
  if (!session.exported->device->writable()) {
    flags |= kFlagReadOnly;
  } else {
    flags |= kFlagSendFua | kFlagSendWriteZeroes | kFlagSendFastZero;
    if (session.allow_discard) flags |= kFlagSendTrim;
  }
  return static_cast<std::uint16_t>(flags);
}

std::optional<Session> negotiate(ByteStream& stream, const ExportList& exports,
                                 bool allow_discard) {
  try {
    return Handshake(stream, exports, allow_discard).run();
  } catch (const std::bad_alloc&) {
    return std::nullopt;  // this client goes; the others keep their connections
  }
}

}  // namespace latchkey::frontends::nbd
