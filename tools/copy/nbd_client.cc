#include "tools/copy/nbd_client.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <libnbd.h>

#include "engine/bytes.h"
#include "engine/sector_aligner.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::IoStatus;
using engine::Result;

namespace {

constexpr std::uint64_t kMostRequestBytes = std::uint64_t{32} << 20;  // what every server takes
constexpr std::int64_t kMostLeastBytes = 4096;                        // what the aligner deals in
constexpr std::uint64_t kMostZeroBytes = std::uint64_t{1} << 30;

Error nbd_failed(const std::string& what) {
  const char* said = nbd_get_error();
  return Error(ErrorCode::kSystem,
               what + ": " + (said != nullptr ? engine::printable(said) : "no reason is known"));
}

IoStatus status_of_call(int result) noexcept {
  if (result >= 0) return {};
  const int reason = nbd_get_errno();
  return IoStatus::from_errno(reason != 0 ? reason : EIO);
}

// One call for each piece of what was asked for: call(place in the export, bytes done before,
// count).
template <typename Call>
IoStatus in_pieces(std::uint64_t offset, std::uint64_t length, std::uint64_t most, Call&& call) {
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t count = std::min(length - done, most);
    if (const IoStatus status = status_of_call(call(offset + done, done, count)); !status.ok()) {
      return status;
    }
    done += count;
  }
  return {};
}

}  // namespace

bool is_nbd_uri(const std::string& text) {
  for (const char* scheme : {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://", "nbd+vsock://"}) {
    if (text.starts_with(scheme)) return true;
  }
  return false;
}

void NbdClientDevice::Close::operator()(nbd_handle* handle) const noexcept {
  (void)nbd_shutdown(handle, 0);
  nbd_close(handle);
}

// One of the connections, for the time of a request.
class NbdClientDevice::Borrowed {
 public:
  explicit Borrowed(NbdClientDevice& device) : device_(device) {
    std::unique_lock lock(device.mutex_);
    device.returned_.wait(lock, [&] { return !device.free_.empty(); });
    handle_ = device.free_.back();
    device.free_.pop_back();
  }
  ~Borrowed() {
    const std::lock_guard lock(device_.mutex_);
    device_.free_.push_back(handle_);  // has room for all of them
    device_.returned_.notify_one();
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  nbd_handle* get() const noexcept { return handle_; }

 private:
  NbdClientDevice& device_;
  nbd_handle* handle_;
};

Result<NbdClientDevice::Handle> NbdClientDevice::open(const std::string& uri) {
  Handle handle(nbd_create());
  if (!handle) return nbd_failed("nbd: no handle");
  // Every byte of a buffer is overwritten by what is read, so it needs no zeros first.
  (void)nbd_set_pread_initialize(handle.get(), false);
  // A password file, a socket of this machine: whoever typed the URI may use them.
  (void)nbd_set_uri_allow_local_file(handle.get(), true);
  if (nbd_connect_uri(handle.get(), uri.c_str()) != 0)
    return nbd_failed("cannot connect to " + uri);
  return handle;
}

Result<engine::DevicePtr> NbdClientDevice::connect(const std::string& uri, bool writable,
                                                   unsigned connections) {
  auto first = open(uri);
  if (!first) return std::move(first).error();
  nbd_handle* const nbd = first->get();
  const std::int64_t size = nbd_get_size(nbd);
  if (size < 0) return nbd_failed(uri);
  if (writable && nbd_is_read_only(nbd) != 0) {
    return Error(ErrorCode::kRefused, uri + " is read-only: its server does not let it be written");
  }
  std::int64_t most = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
  if (most <= 0) most = static_cast<std::int64_t>(kMostRequestBytes);
  const std::int64_t least = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
  if (least > kMostLeastBytes || (least > 1 && size % least != 0)) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("{} takes only requests of whole {} bytes", uri, least));
  }
  const bool shared = nbd_can_multi_conn(nbd) == 1;
  std::vector<Handle> handles;
  handles.push_back(std::move(*first));
  while (shared && handles.size() < connections) {
    auto another = open(uri);
    if (!another) break;  // a server that limits them
    handles.push_back(std::move(*another));
  }
  const engine::Geometry geometry{
      .size_bytes = static_cast<std::uint64_t>(size),
      .sector_bytes = static_cast<std::uint32_t>(std::clamp<std::int64_t>(least, 512, 65536)),
      .writable = writable};
  const auto most_bytes = std::min(static_cast<std::uint64_t>(most), kMostRequestBytes);
  engine::DevicePtr device(new NbdClientDevice(std::move(handles), geometry, most_bytes));
  if (least <= 512) return device;  // what is copied comes in sectors
  return engine::DevicePtr(std::make_shared<engine::SectorAligner>(
      std::move(device), static_cast<std::uint32_t>(least)));
}

NbdClientDevice::NbdClientDevice(std::vector<Handle> handles, const engine::Geometry& geometry,
                                 std::uint64_t most_bytes)
    : BlockDevice(geometry),
      handles_(std::move(handles)),
      most_bytes_(most_bytes),
      takes_zeroes_(nbd_can_zero(handles_.front().get()) == 1),
      takes_flush_(nbd_can_flush(handles_.front().get()) == 1) {
  for (const Handle& handle : handles_) free_.push_back(handle.get());
}

NbdClientDevice::~NbdClientDevice() = default;

IoStatus NbdClientDevice::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  const Borrowed nbd(*this);
  return in_pieces(offset, into.size(), most_bytes_,
                   [&](std::uint64_t place, std::size_t done, std::size_t count) {
                     return nbd_pread(nbd.get(), into.data() + done, count, place, 0);
                   });
}

IoStatus NbdClientDevice::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const Borrowed nbd(*this);
  return in_pieces(offset, from.size(), most_bytes_,
                   [&](std::uint64_t place, std::size_t done, std::size_t count) {
                     return nbd_pwrite(nbd.get(), from.data() + done, count, place, 0);
                   });
}

IoStatus NbdClientDevice::do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                          engine::WriteFlags flags) noexcept {
  if (!takes_zeroes_) return BlockDevice::do_write_zeroes(offset, length, flags);
  const Borrowed nbd(*this);
  const bool keep = engine::has(flags, engine::WriteFlags::kNoHole);
  const std::uint32_t nbd_flags = keep ? std::uint32_t{LIBNBD_CMD_FLAG_NO_HOLE} : 0U;
  return in_pieces(offset, length, kMostZeroBytes,
                   [&](std::uint64_t place, std::uint64_t, std::uint64_t count) {
                     return nbd_zero(nbd.get(), count, place, nbd_flags);
                   });
}

IoStatus NbdClientDevice::do_flush() noexcept {
  if (!takes_flush_) return {};
  const Borrowed nbd(*this);
  return status_of_call(nbd_flush(nbd.get(), 0));
}

}  // namespace latchkey::tools
