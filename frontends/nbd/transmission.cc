#include "frontends/nbd/transmission.h"

#include <algorithm>
#include <cerrno>

#include "frontends/nbd/protocol.h"
#include "frontends/nbd/wire_error.h"

namespace latchkey::frontends::nbd {

namespace {

using engine::IoStatus;
using engine::WriteFlags;

// A refused write up to this long is read and dropped, so that the connection goes on; a longer one
// ends it.
constexpr std::uint32_t kMaxDroppedBytes = 2 * kMaxRequestBytes;

// Streamed requests are cut at multiples of this in the device: small enough to stay in the cache
// between storage, cipher and socket, and a multiple of every sector size, so that no cut costs a
// sector that is read twice.
constexpr std::uint32_t kPieceBytes = 256 * 1024;

// Answers go out once this much waits, though more requests of the batch are to be served: the
// client works on them meanwhile.
constexpr std::size_t kSendAtBytes = std::size_t{256} << 10;

std::uint32_t piece_at(std::uint64_t offset, std::uint32_t left) noexcept {
  const auto to_cut = static_cast<std::uint32_t>(kPieceBytes - offset % kPieceBytes);
  return std::min(left, to_cut);
}

bool writes(std::uint16_t command) noexcept {
  return command == kCmdWrite || command == kCmdTrim || command == kCmdWriteZeroes;
}

// FUA "is valid for all commands"; clients are known to set it on reads.
unsigned known_flags(std::uint16_t command, bool structured_replies) noexcept {
  switch (command) {
    case kCmdRead:
      return kCmdFlagFua | (structured_replies ? kCmdFlagDf : 0U);
    case kCmdWriteZeroes:
      return kCmdFlagFua | kCmdFlagNoHole | kCmdFlagFastZero;
    case kCmdBlockStatus:
      return kCmdFlagFua | kCmdFlagReqOne;
    default:
      return kCmdFlagFua;
  }
}

}  // namespace

Transmission::Transmission(ByteStream& stream, const Session& session,
                           const WholeWrites& whole_writes)
    : session_(session),
      whole_writes_(whole_writes),
      device_(*session.exported->device),
      stream_(stream),
      requests_(stream),
      replies_(stream, session.structured_replies) {}

void Transmission::run() noexcept {
  while (!replies_.lost()) {
    switch (serve_next()) {
      case Step::kServed:
        if (replies_.waiting_bytes() >= kSendAtBytes) replies_.send();
        continue;
      case Step::kClose:
        replies_.send();
        return;
      case Step::kNeedMore:
        break;
    }
    if (!replies_.send()) return;
    if (!requests_.receive(wanted_bytes_)) return;
    hint_reads();
  }
}

Transmission::Step Transmission::serve_next() noexcept {
  const engine::Bytes bytes = requests_.bytes();
  wanted_bytes_ = kRequestBytes;
  if (bytes.size() < wanted_bytes_) return Step::kNeedMore;
  Request request{};
  if (!decode_request(bytes, request)) return Step::kClose;  // no telling where the next one starts
  if (request.command == kCmdDisconnect) return Step::kClose;
  if (request.command == kCmdWrite) {
    if (request.length > kMaxDroppedBytes) return Step::kClose;
    if (request.length > kStreamAboveBytes) {
      requests_.consume(kRequestBytes);
      return stream_write(request) ? Step::kServed : Step::kClose;
    }
    wanted_bytes_ += request.length;
    if (bytes.size() < wanted_bytes_) return Step::kNeedMore;
  }
  bool alive = true;
  if (const WireError error = check(request); !error.ok()) {
    replies_.error(request, error);
  } else if (request.command == kCmdRead && request.length > kStreamAboveBytes) {
    alive = stream_read(request);
  } else {
    serve(request, bytes.first(wanted_bytes_).subspan(kRequestBytes));
  }
  requests_.consume(wanted_bytes_);
  return alive ? Step::kServed : Step::kClose;
}

// Depth on slow media: the device hears of the reads behind the first one while that one is under
// way. Neighbours are joined.
void Transmission::hint_reads() noexcept {
  engine::Bytes rest = requests_.bytes();
  bool first = true;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  const auto tell = [&] {
    if (end > begin) device_.prefetch(begin, end - begin);
  };
  while (rest.size() >= kRequestBytes) {
    Request request{};
    if (!decode_request(rest, request)) break;
    const bool useful = request.command == kCmdRead && request.length <= kMaxRequestBytes &&
                        device_.in_range(request.offset, request.length);
    if (useful && !first) {
      if (request.offset != end) {
        tell();
        begin = request.offset;
      }
      end = request.offset + request.length;
    }
    if (useful) first = false;
    const std::size_t payload = request.command == kCmdWrite ? request.length : 0;
    if (payload > rest.size() - kRequestBytes) break;
    rest = rest.subspan(kRequestBytes + payload);
  }
  tell();
}

WireError Transmission::check(const Request& request) const noexcept {
  if (request.command > kCmdBlockStatus) return {ErrorValue::kInvalid, "unknown command"};
  const unsigned known = known_flags(request.command, session_.structured_replies);
  if ((request.flags & ~known) != 0) return {ErrorValue::kInvalid, "flag not known here"};
  if (request.command == kCmdFlush) {
    if (request.offset == 0 && request.length == 0) return {};
    return {ErrorValue::kInvalid, "a flush takes no range"};
  }
  if (writes(request.command)) return check_writing(request);
  if (!device_.in_range(request.offset, request.length)) {
    return {ErrorValue::kInvalid, "outside the export"};
  }
  if (request.command == kCmdRead) {
    if (request.has(kCmdFlagDf) && request.length > kStreamAboveBytes) {
      return {ErrorValue::kOverflow, "too long to go unfragmented"};
    }
    if (request.length > kMaxRequestBytes) return {ErrorValue::kInvalid, "request too long"};
  }
  if (request.command == kCmdBlockStatus) {
    if (!session_.block_status) return {ErrorValue::kInvalid, "no metadata context was selected"};
    if (request.length == 0) return {ErrorValue::kInvalid, "block status of nothing"};
  }
  return {};
}

WireError Transmission::check_writing(const Request& request) const noexcept {
  if (!device_.writable()) return {ErrorValue::kPermission, "the export is read-only"};
  if (request.command == kCmdTrim && !session_.allow_discard) {
    return {ErrorValue::kInvalid, "trim was not offered"};
  }
  if (request.command == kCmdWrite && request.length > kMaxRequestBytes) {
    return {ErrorValue::kInvalid, "request too long"};
  }
  if (!device_.in_range(request.offset, request.length)) {
    // NBD, "Error values": a trim counts with the reads here.
    const bool trim = request.command == kCmdTrim;
    return {trim ? ErrorValue::kInvalid : ErrorValue::kNoSpace, "outside the export"};
  }
  return {};
}

void Transmission::serve(const Request& request, engine::Bytes payload) noexcept {
  switch (request.command) {
    case kCmdRead:
      read(request);
      return;
    case kCmdBlockStatus:
      block_status(request);
      return;
    case kCmdCache:
      device_.prefetch(request.offset, request.length);
      replies_.done(request);
      return;
    default:
      answer(request, wire_error(change(request, payload)));
      return;
  }
}

void Transmission::answer(const Request& request, WireError error) noexcept {
  if (error.ok()) {
    replies_.done(request);
  } else {
    replies_.error(request, error);
  }
}

void Transmission::read(const Request& request) noexcept {
  if (request.length == 0) {
    replies_.done(request);
    return;
  }
  const engine::MutableBytes into = replies_.reserve(request.length);
  if (const IoStatus status = device_.read(request.offset, into); !status.ok()) {
    replies_.error_at(request, wire_error(status), request.offset);
  } else if (session_.structured_replies) {
    replies_.read_data(request, request.offset, into.size(), true);
  } else {
    replies_.simple_data(request, into.size());
  }
}

// False: reading failed after a simple reply had begun, which has no way to say so.
bool Transmission::stream_read(const Request& request) noexcept {
  replies_.send();
  device_.prefetch(request.offset, request.length);
  std::uint64_t offset = request.offset;
  std::uint32_t left = request.length;
  while (left > 0 && !replies_.lost()) {
    const engine::MutableBytes into = replies_.reserve(piece_at(offset, left));
    const auto piece_bytes = static_cast<std::uint32_t>(into.size());
    if (const IoStatus status = device_.read(offset, into); !status.ok()) {
      const bool begun = offset != request.offset;
      if (begun && !session_.structured_replies) return false;
      replies_.error_at(request, wire_error(status), offset);
      return true;
    }
    if (session_.structured_replies) {
      replies_.read_data(request, offset, piece_bytes, piece_bytes == left);
    } else if (offset == request.offset) {
      replies_.simple_data(request, piece_bytes);
    } else {
      replies_.more_data(piece_bytes);
    }
    offset += piece_bytes;
    left -= piece_bytes;
    replies_.send();
  }
  return true;
}

// Receives a write's payload piece by piece: apply(offset, piece) while there is no error, else
// dropped. False: the connection ended in the middle of it.
template <class Apply>
bool Transmission::take_payload(const Request& request, WireError& error,
                                const Apply& apply) noexcept {
  std::uint64_t offset = request.offset;
  std::uint32_t left = request.length;
  while (left > 0) {
    // once it has failed the offset may be nonsense, and only the length counts
    const std::uint32_t piece_bytes = piece_at(offset, left);
    while (requests_.bytes().size() < piece_bytes) {
      if (!requests_.receive(piece_bytes)) return false;
    }
    if (error.ok()) error = apply(offset, requests_.bytes().first(piece_bytes));
    requests_.consume(piece_bytes);
    offset += piece_bytes;
    left -= piece_bytes;
  }
  return true;
}

// False: the connection is over.
bool Transmission::stream_write(const Request& request) noexcept {
  WireError error = check(request);
  if (error.ok()) {
    const IoStatus taken = device_.check_write(request.offset, request.length);
    if (taken.code() == engine::IoCode::kOnlyZeros) return write_whole(request);
    error = wire_error(taken);
  }
  replies_.send();
  const auto apply = [this](std::uint64_t offset, engine::Bytes piece) {
    return wire_error(device_.write(offset, piece));
  };
  if (!take_payload(request, error, apply)) return false;
  if (error.ok() && request.has(kCmdFlagFua)) error = wire_error(device_.flush());
  answer(request, error);
  return true;
}

// The bytes decide whether the device takes the write, so all of them come first.
bool Transmission::write_whole(const Request& request) noexcept {
  replies_.send();
  const std::size_t here = std::min<std::size_t>(requests_.bytes().size(), request.length);
  const auto turn = whole_writes_.take(stream_, request.length, request.length - here);
  if (!turn) return false;
  const engine::MutableBytes whole = turn->bytes();
  WireError error = whole.empty() ? wire_error({engine::IoCode::kFailed, ENOMEM}) : WireError();
  const auto keep = [&](std::uint64_t offset, engine::Bytes piece) {
    std::copy(piece.begin(), piece.end(),
              whole.begin() + static_cast<std::ptrdiff_t>(offset - request.offset));
    return WireError();
  };
  if (!take_payload(request, error, keep)) return false;
  if (error.ok()) {
    const bool fua = request.has(kCmdFlagFua);
    error = wire_error(
        device_.write(request.offset, whole, fua ? WriteFlags::kFua : WriteFlags::kNone));
  }
  answer(request, error);
  return true;
}

IoStatus Transmission::change(const Request& request, engine::Bytes payload) noexcept {
  const bool fua = request.has(kCmdFlagFua);
  // These may take long, and what was read before them is ready to go.
  if (fua || request.command != kCmdWrite) replies_.send();
  WriteFlags flags = fua ? WriteFlags::kFua : WriteFlags::kNone;
  switch (request.command) {
    case kCmdWrite:
      return device_.write(request.offset, payload, flags);
    case kCmdFlush:
      return device_.flush();
    case kCmdTrim: {
      const IoStatus status = device_.discard(request.offset, request.length);
      return status.ok() && fua ? device_.flush() : status;
    }
    default:
      break;
  }
  if (request.has(kCmdFlagNoHole)) flags = flags | WriteFlags::kNoHole;
  if (request.has(kCmdFlagFastZero)) flags = flags | WriteFlags::kFastZero;
  return device_.write_zeroes(request.offset, request.length, flags);
}

void Transmission::block_status(const Request& request) noexcept {
  constexpr std::size_t kMaxDescriptors = 1024;
  // Equal neighbours become one descriptor, so the number of questions needs a bound of its own.
  constexpr unsigned kMaxQuestions = 16 * 1024;
  const std::size_t most = request.has(kCmdFlagReqOne) ? 1 : kMaxDescriptors;
  const engine::MutableBytes into = replies_.reserve(most * 8);
  std::size_t count = 0;
  std::uint32_t last_state = 0;
  std::uint32_t last_length = 0;
  std::uint64_t offset = request.offset;
  std::uint32_t left = request.length;
  for (unsigned asked = 0; left > 0 && asked < kMaxQuestions; ++asked) {
    const engine::Extent extent = device_.extent_at(offset, left);
    const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(extent.length, left));
    if (length == 0) break;
    const std::uint32_t state =
        (extent.allocated ? 0 : kStateHole) | (extent.reads_as_zero ? kStateZero : 0);
    if (count > 0 && state == last_state) {
      last_length += length;
    } else {
      if (count == most) break;
      ++count;
      last_state = state;
      last_length = length;
    }
    engine::store_be<std::uint32_t>(into, (count - 1) * 8, last_length);
    engine::store_be<std::uint32_t>(into, (count - 1) * 8 + 4, last_state);
    offset += length;
    left -= length;
  }
  if (count == 0) {
    replies_.error(request, {ErrorValue::kIo, "the device does not know its extents"});
  } else {
    replies_.block_status(request, count * 8);
  }
}

}  // namespace latchkey::frontends::nbd
