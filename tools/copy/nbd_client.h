// A disk that an NBD server elsewhere has, as a device: through libnbd, synchronous.
//
// Several connections where the server says that what one has flushed all have (multi-conn), else
// one. Thread-safe: each request borrows a connection. A connection that broke fails what comes
// after; nothing is tried anew.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/result.h"

struct nbd_handle;

namespace latchkey::tools {

// "nbd://...", "nbd+unix://..." and their kin?
bool is_nbd_uri(const std::string& text);

class NbdClientDevice final : public engine::BlockDevice {
 public:
  // Errors: kSystem, with what libnbd says; kRefused where the server does not let it be written.
  // Byte-granular, also where the server has a least size of requests.
  static engine::Result<engine::DevicePtr> connect(const std::string& uri, bool writable,
                                                   unsigned connections);
  ~NbdClientDevice() override;

 private:
  struct Close {
    void operator()(nbd_handle* handle) const noexcept;
  };
  using Handle = std::unique_ptr<nbd_handle, Close>;
  class Borrowed;

  NbdClientDevice(std::vector<Handle> handles, const engine::Geometry& geometry,
                  std::uint64_t most_bytes);
  static engine::Result<Handle> open(const std::string& uri);
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override;
  engine::IoStatus do_write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   engine::WriteFlags flags) noexcept override;
  engine::IoStatus do_flush() noexcept override;

  const std::vector<Handle> handles_;
  const std::uint64_t most_bytes_;  // in one request
  const bool takes_zeroes_;
  const bool takes_flush_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<nbd_handle*> free_;
};

}  // namespace latchkey::tools
