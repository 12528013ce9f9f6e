// One copy of a BitLocker volume's metadata: the block header, the dataset with its datums, and the
// validation record behind them.
//
// parse_bitlocker_metadata() takes the bytes of one copy and checks their structure; whether the
// sum holds is a fact in the result, since a volume whose sums are all wrong may still open. Pure;
// any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "keyslots/bitlocker/bitlocker_datum.h"

namespace latchkey::keyslots {

inline constexpr std::string_view kBitlockerSignature = "-FVE-FS-";
// What is set aside for a copy, before it is rounded up to sectors (version 2) or clusters (1).
inline constexpr std::size_t kBitlockerCopyBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kBitlockerVistaCopyBytes = std::size_t{16} * 1024;

enum class BitlockerState : std::uint16_t {
  kDecrypted = 1,
  kSwitchingDirty = 2,  // under way, with a conversion log at the state's offset
  kPaused = 3,
  kEncrypted = 4,
  kSwitching = 5,
};

// Encryption methods, as a dataset and the key it protects name them.
enum class BitlockerMethod : std::uint16_t {
  kNone = 0,
  kAes128Diffuser = 0x8000,
  kAes256Diffuser = 0x8001,
  kAes128 = 0x8002,
  kAes256 = 0x8003,
  kXts128 = 0x8004,
  kXts256 = 0x8005,
};

struct BitlockerMetadata {
  std::vector<std::byte> bytes;  // of the block from its first byte; the datums point into it
  std::size_t info_bytes = 0;    // header and dataset: what the sum and the sealed hash are over

  std::uint16_t version = 0;  // 1 Vista, 2 Windows 7 and later
  BitlockerState state{};
  BitlockerState next_state{};
  std::uint64_t state_offset = 0;         // while converting: ciphertext below it, plain above
  std::uint32_t state_bytes = 0;          // of the conversion log
  std::uint32_t virtualized_sectors = 0;  // version 2: how many first sectors are kept elsewhere
  std::array<std::uint64_t, 3> offsets{};
  std::uint64_t virtualized_offset = 0;  // version 2
  std::uint64_t mft_mirror_cluster = 0;  // version 1

  std::array<std::byte, 16> volume_guid{};
  std::uint32_t next_nonce = 0;  // grows with every change
  BitlockerMethod method{};
  std::vector<Datum> datums;

  bool crc_holds = false;
  engine::Bytes sealed_hash;  // AES-CCM payload under the VMK; empty where there is none

  // The datums point into `bytes`: a move keeps them valid, a copy would not.
  BitlockerMetadata() = default;
  BitlockerMetadata(BitlockerMetadata&&) = default;
  BitlockerMetadata& operator=(BitlockerMetadata&&) = default;
  BitlockerMetadata(const BitlockerMetadata&) = delete;
  BitlockerMetadata& operator=(const BitlockerMetadata&) = delete;
  ~BitlockerMetadata() = default;

  engine::Bytes info() const noexcept { return engine::Bytes(bytes).first(info_bytes); }
  std::string volume_guid_text() const;
  std::string description() const;
  // The size of the relocated block as a datum of its own tells it; 0 where none does.
  std::uint64_t virtualized_bytes() const noexcept;
};

// `block`: as much as the volume holds of the kBitlockerCopyBytes from the copy's first byte.
// kDamaged where the structure cannot be true, kNotSupported for a version that is not known.
engine::Result<BitlockerMetadata> parse_bitlocker_metadata(engine::Bytes block);

}  // namespace latchkey::keyslots
