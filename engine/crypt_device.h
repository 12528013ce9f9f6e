// The only place where plaintext and ciphertext meet: one device below, one SectorCipher.
//
// Takes whole sectors only: offset and length must be multiples of the cipher's sector size, else
// kOutOfRange. SectorAligner (sector_aligner.h) is put directly above each CryptDevice and makes it
// byte-granular; make_crypt_layer() builds the pair. Its size is the source range rounded down to
// whole sectors.
//
// Reads decrypt in place in the caller's buffer, in pieces small enough to stay in cache; writes
// encrypt into a scratch buffer of kCryptPieceBytes that the thread keeps and never touch the
// caller's bytes.
#pragma once

#include <memory>

#include "engine/block_device.h"
#include "engine/sector_cipher.h"

namespace latchkey::engine {

inline constexpr std::size_t kCryptPieceBytes = std::size_t{128} * 1024;

class CryptDevice final : public BlockDevice {
 public:
  // The ciphertext is [offset, offset + length) of `below`, which must lie inside it.
  CryptDevice(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes,
              std::shared_ptr<const SectorCipher> cipher);

 private:
  IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override;
  IoStatus do_write(std::uint64_t offset, std::span<const std::byte> from) noexcept override;
  IoStatus do_discard(std::uint64_t offset, std::uint64_t length) noexcept override;
  IoStatus do_flush() noexcept override;
  IoStatus do_check_write(std::uint64_t offset, std::uint64_t length) noexcept override;
  Extent do_extent_at(std::uint64_t offset, std::uint64_t length) const noexcept override;
  void do_prefetch(std::uint64_t offset, std::uint64_t length) noexcept override;

  bool whole_sectors(std::uint64_t offset, std::uint64_t length) const noexcept;
  bool decrypt_from_loan(std::uint64_t offset, std::span<std::byte> into) noexcept;

  const DevicePtr below_;
  const std::uint64_t source_offset_;
  const std::shared_ptr<const SectorCipher> cipher_;
  const std::uint32_t sector_bytes_;
};

// The byte-granular plaintext of a ciphered range: SectorAligner over CryptDevice.
DevicePtr make_crypt_layer(DevicePtr below, std::uint64_t offset, std::uint64_t length_bytes,
                           std::shared_ptr<const SectorCipher> cipher);

}  // namespace latchkey::engine
