#include "engine/crypt_device.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <new>
#include <utility>
#include <vector>

#include "engine/bytes.h"
#include "engine/sector_aligner.h"

namespace latchkey::engine {
namespace {

Geometry plaintext_geometry(const BlockDevice& below, std::uint64_t length,
                            const SectorCipher& cipher) {
  return {.size_bytes = round_down(length, cipher.sector_bytes()),
          .sector_bytes = std::max(below.geometry().sector_bytes, cipher.sector_bytes()),
          .writable = below.writable()};
}

// A buffer for ciphertext on its way down. Each thread keeps the ones it has used; where encrypted
// volumes are nested, each level holds one of its own while the levels below work. Ciphertext only,
// so nothing here needs wiping.
class Scratch {
 public:
  Scratch() noexcept {
    if (!spare().empty()) {
      buffer_ = std::move(spare().back());
      spare().pop_back();
    } else {
      buffer_.reset(new (std::nothrow) Buffer);
    }
  }
  ~Scratch() {
    if (buffer_ != nullptr && spare().size() < spare().capacity()) {
      spare().push_back(std::move(buffer_));
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  MutableBytes span() noexcept { return buffer_ ? MutableBytes(buffer_->bytes) : MutableBytes(); }

 private:
  struct Buffer {
    alignas(64) std::array<std::byte, kCryptPieceBytes> bytes;
  };
  static std::vector<std::unique_ptr<Buffer>>& spare() noexcept {
    static thread_local std::vector<std::unique_ptr<Buffer>> buffers = [] {
      std::vector<std::unique_ptr<Buffer>> none;
      none.reserve(2);  // deeper nesting is rare: its buffers come from the heap each time
      return none;
    }();
    return buffers;
  }
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace

CryptDevice::CryptDevice(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes,
                         std::shared_ptr<const SectorCipher> cipher)
    : BlockDevice(plaintext_geometry(*below, length_bytes, *cipher)),
      below_(std::move(below)),
      source_offset_(offset),
      cipher_(std::move(cipher)),
      sector_bytes_(cipher_->sector_bytes()) {
  assert(below_->in_range(offset, length_bytes));
  assert(kCryptPieceBytes % sector_bytes_ == 0);
}

bool CryptDevice::whole_sectors(std::uint64_t offset, std::uint64_t length) const noexcept {
  return offset % sector_bytes_ == 0 && length % sector_bytes_ == 0;
}

// Straight out of the page cache, where that is to be had: a copy costs about as much as
// decrypting. Small pieces are not worth the questions.
bool CryptDevice::decrypt_from_loan(std::uint64_t offset, std::span<std::byte> into) noexcept {
  constexpr std::size_t kLeastBytes = std::size_t{32} * 1024;
  if (into.size() < kLeastBytes) return false;
  const Loan loan = below_->lend(source_offset_ + offset, into.size());
  if (loan.bytes.empty()) return false;
  cipher_->decrypt(offset / sector_bytes_, loan.bytes, into);
  return loan.intact();
}

IoStatus CryptDevice::do_read(std::uint64_t offset, std::span<std::byte> into) noexcept {
  if (!whole_sectors(offset, into.size())) return IoCode::kOutOfRange;
  while (!into.empty()) {
    const auto piece = into.first(std::min(into.size(), kCryptPieceBytes));
    if (!decrypt_from_loan(offset, piece)) {
      if (const IoStatus s = below_->read(source_offset_ + offset, piece); !s.ok()) return s;
      cipher_->decrypt(offset / sector_bytes_, piece, piece);
    }
    offset += piece.size();
    into = into.subspan(piece.size());
  }
  return {};
}

IoStatus CryptDevice::do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (!whole_sectors(offset, from.size())) return IoCode::kOutOfRange;
  if (from.size() > kCryptPieceBytes) {
    // Goes down in pieces: ask for the whole first, so that a refusal changes nothing.
    if (const IoStatus s = do_check_write(offset, from.size()); !s.ok()) return s;
  }
  Scratch scratch;
  if (scratch.span().empty()) return {IoCode::kFailed, ENOMEM};
  while (!from.empty()) {
    const auto piece = scratch.span().first(std::min(from.size(), kCryptPieceBytes));
    cipher_->encrypt(offset / sector_bytes_, from.first(piece.size()), piece);
    if (const IoStatus s = below_->write(source_offset_ + offset, piece); !s.ok()) return s;
    offset += piece.size();
    from = from.subspan(piece.size());
  }
  return {};
}

IoStatus CryptDevice::do_discard(std::uint64_t offset, std::uint64_t length) noexcept {
  return below_->discard(source_offset_ + offset, length);
}

IoStatus CryptDevice::do_flush() noexcept {
  return below_->flush();
}

IoStatus CryptDevice::do_check_write(std::uint64_t offset, std::uint64_t length) noexcept {
  return below_->check_write(source_offset_ + offset, length);
}

// A hole below decrypts to noise: whether it reads as zero is never known above a cipher, and what
// is read from it must be transferred, so it is not reported as a hole either.
Extent CryptDevice::do_extent_at(std::uint64_t, std::uint64_t length) const noexcept {
  return {.length = length, .allocated = true, .reads_as_zero = false};
}

void CryptDevice::do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept {
  below_->prefetch(source_offset_ + offset, length);
}

DevicePtr make_crypt_layer(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes,
                           std::shared_ptr<const SectorCipher> cipher) {
  const std::uint32_t sector_bytes = cipher->sector_bytes();
  auto crypt =
      std::make_shared<CryptDevice>(std::move(below), offset, length_bytes, std::move(cipher));
  return std::make_shared<SectorAligner>(std::move(crypt), sector_bytes);
}

}  // namespace latchkey::engine
