// The memory one request is read into and answered from: as large as the largest request, page
// aligned, never shared. Construction throws std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace latchkey::frontends {

// The most one READ or WRITE carries; what libfuse's receive buffer holds.
inline constexpr std::size_t kMaxTransferBytes = std::size_t{1024} * 1024;

class TransferBuffer {
 public:
  TransferBuffer()
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kMaxTransferBytes))) {
    if (!bytes_) throw std::bad_alloc();
  }

  std::span<std::byte> span() noexcept { return {bytes_.get(), kMaxTransferBytes}; }
  void swap(TransferBuffer& other) noexcept { bytes_.swap(other.bytes_); }

 private:
  static constexpr std::size_t kPageBytes = 4096;
  struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
  };
  std::unique_ptr<std::byte[], Free> bytes_;
};

}  // namespace latchkey::frontends
