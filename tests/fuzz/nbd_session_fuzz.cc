// A client's bytes against handshake and transmission, without a socket.
//
// Input: byte 0 chooses the session (see Mode), byte 1 how many bytes arrive at a time (0: all),
// the rest is what the client sends. Every message that goes out once replies are structured is
// taken apart: its length must be what its header says and its data must lie inside the export.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "engine/piece_map.h"
#include "frontends/nbd/handshake.h"
#include "frontends/nbd/transmission.h"

namespace {

using namespace latchkey;
using namespace latchkey::frontends;

enum Mode : unsigned {
  kHandshake = 1,   // from the greeting on; else straight into transmission
  kStructured = 2,  // the rest: what the handshake would have agreed on
  kBlockStatus = 4,
  kWritable = 8,
  kDiscard = 16,
  kZeroesFollow = 32,  // after the input 2 MiB of zeros: completes large payloads
};

// Just long enough for requests that are streamed (above 1 MiB).
constexpr std::size_t kDeviceBytes = (1 << 20) + (1 << 18);
constexpr std::size_t kMostSentBytes = 4 << 20;  // then the client is gone

void require(bool holds) {
  if (!holds) std::abort();
}

class FuzzStream final : public nbd::ByteStream {
 public:
  FuzzStream(engine::Bytes input, std::size_t at_a_time, std::size_t zeroes, bool check)
      : input_(input), at_a_time_(at_a_time), zeroes_(zeroes), check_(check) {}

  std::size_t receive(engine::MutableBytes into) noexcept override {
    require(!into.empty());
    std::size_t count = std::min(into.size(), at_a_time_);
    if (!input_.empty()) {
      count = std::min(count, input_.size());
      std::copy_n(input_.begin(), count, into.begin());
      input_ = input_.subspan(count);
      return count;
    }
    count = std::min(into.size(), zeroes_);
    std::fill_n(into.begin(), count, std::byte{0});
    zeroes_ -= count;
    return count;
  }

  bool send(std::span<iovec> parts) noexcept override {
    for (const iovec& part : parts) {
      const engine::Bytes bytes(static_cast<const std::byte*>(part.iov_base), part.iov_len);
      // every byte that goes out is touched, as a socket would: none may be beyond its buffer
      require(bytes.size() <= sink_.size());
      std::ranges::copy(bytes, sink_.begin());
      if (check_) check_message(bytes);
      sent_bytes_ += bytes.size();
    }
    return sent_bytes_ < kMostSentBytes;
  }
  bool wait_for(int, std::size_t) noexcept override { return true; }
  bool stopping() const noexcept override { return sent_bytes_ % 64 == 63; }

 private:
  static void check_message(engine::Bytes bytes) {
    require(bytes.size() >= nbd::kSimpleReplyBytes);
    if (engine::load_be<std::uint32_t>(bytes, 0) == nbd::kSimpleReplyMagic) {
      require(bytes.size() == nbd::kSimpleReplyBytes);
      return;
    }
    require(engine::load_be<std::uint32_t>(bytes, 0) == nbd::kStructuredReplyMagic);
    require(bytes.size() >= nbd::kChunkHeaderBytes);
    require(bytes.size() == nbd::kChunkHeaderBytes + engine::load_be<std::uint32_t>(bytes, 16));
    if (engine::load_be<std::uint16_t>(bytes, 6) != nbd::kReplyOffsetData) return;
    require(bytes.size() > nbd::kDataChunkHeaderBytes);
    const auto offset = engine::load_be<std::uint64_t>(bytes, nbd::kChunkHeaderBytes);
    const std::size_t length = bytes.size() - nbd::kDataChunkHeaderBytes;
    require(length <= kDeviceBytes && offset <= kDeviceBytes - length);
  }

  engine::Bytes input_;
  const std::size_t at_a_time_;
  std::size_t zeroes_;
  const bool check_;
  std::size_t sent_bytes_ = 0;
  static inline std::vector<std::byte> sink_ = std::vector<std::byte>(2 << 20);
};

// A part of it takes only zeros: a streamed write of it is taken into memory whole.
ExportList make_exports(bool writable) {
  constexpr std::uint64_t kBlankAt = 1 << 20;
  constexpr std::uint64_t kBlankBytes = 4096;
  const auto memory = std::make_shared<engine::MemoryDevice>(
      std::vector<std::byte>(kDeviceBytes, std::byte{0x5a}), writable);
  auto map = std::make_unique<engine::PieceMap>();
  map->data(0, 0, kBlankAt).blank(kBlankBytes);
  map->data(0, map->size_bytes(), kDeviceBytes - map->size_bytes());
  const auto device = std::make_shared<engine::MapDevice>(std::vector<engine::DevicePtr>{memory},
                                                          std::move(map), memory->geometry());
  return {{{"disk", "a disk", device}, {"p1", "", device}}, 0};
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  if (size < 2) return 0;
  const unsigned mode = data[0];
  const std::size_t at_a_time = data[1] == 0 ? SIZE_MAX : data[1];
  const engine::Bytes input = std::as_bytes(std::span(data + 2, size - 2));
  const std::size_t zeroes = (mode & kZeroesFollow) != 0 ? 2 << 20 : 0;

  static const ExportList read_only = make_exports(false);
  static const ExportList writable = make_exports(true);
  const ExportList& exports = (mode & kWritable) != 0 ? writable : read_only;

  const bool handshake = (mode & kHandshake) != 0;
  nbd::Session session;
  session.exported = &exports.default_export();
  session.structured_replies = (mode & kStructured) != 0;
  session.block_status = session.structured_replies && (mode & kBlockStatus) != 0;
  session.allow_discard = (mode & kDiscard) != 0;
  FuzzStream stream(input, at_a_time, zeroes, !handshake && session.structured_replies);
  if (handshake) {
    const auto agreed = nbd::negotiate(stream, exports, session.allow_discard);
    if (!agreed) return 0;
    require(agreed->exported != nullptr);
    require(agreed->structured_replies || !agreed->block_status);
    session = *agreed;
  }
  static const auto whole_writes = nbd::WholeWrites::make();
  require(whole_writes.ok());
  nbd::Transmission(stream, session, *whole_writes).run();
  return 0;
}
