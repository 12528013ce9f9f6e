// The LUKS1 header (LUKS on-disk format 1.2.3, section 2.2): 592 big-endian bytes. Parsing is pure
// and checks everything that can be checked without a key, so that what is handed out is safe to
// use. Values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/sector_cipher.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kLuks1HeaderBytes = 592;
inline constexpr std::size_t kLuks1Slots = 8;
inline constexpr std::string_view kLuksMagic{"LUKS\xba\xbe", 6};
// What cryptsetup puts in its place while it re-encrypts a LUKS1 volume: a part of the data has one
// key then and a part another, and only the files it keeps beside say which.
inline constexpr std::string_view kLuks1BeingReencryptedMagic{"LUKS\xde\xad", 6};
engine::Error luks1_being_reencrypted();

// Where the fields stand; integers are big-endian, texts padded with NUL.
namespace luks1_at {
inline constexpr std::size_t kVersion = 6;
inline constexpr std::size_t kCipher = 8;  // texts of 32 bytes
inline constexpr std::size_t kMode = 40;
inline constexpr std::size_t kHash = 72;
inline constexpr std::size_t kPayload = 104;  // in sectors
inline constexpr std::size_t kKeyBytes = 108;
inline constexpr std::size_t kDigest = 112;
inline constexpr std::size_t kDigestSalt = 132;
inline constexpr std::size_t kDigestIterations = 164;
inline constexpr std::size_t kUuid = 168;  // 40 bytes
inline constexpr std::size_t kSlots = 208;
// In each slot.
inline constexpr std::size_t kSlotState = 0;
inline constexpr std::size_t kSlotIterations = 4;
inline constexpr std::size_t kSlotSalt = 8;
inline constexpr std::size_t kSlotOffset = 40;  // in sectors
inline constexpr std::size_t kSlotStripes = 44;
}  // namespace luks1_at

inline constexpr std::size_t kLuks1SlotBytes = 48;
inline constexpr std::size_t kLuks1TextBytes = 32;
inline constexpr std::size_t kLuks1DigestBytes = 20;
inline constexpr std::size_t kLuks1SaltBytes = 32;
inline constexpr std::size_t kLuks1UuidBytes = 40;
inline constexpr std::uint64_t kLuks1SectorBytes = 512;
inline constexpr std::uint32_t kLuks1Active = 0x00ac71f3;
inline constexpr std::uint32_t kLuks1Inactive = 0x0000dead;

struct Luks1Slot {
  bool active = false;
  std::uint32_t iterations = 0;
  std::vector<std::byte> salt;
  std::uint64_t offset = 0;  // bytes
  std::uint64_t length = 0;  // bytes of split key material, not rounded
  std::uint32_t stripes = 0;
};

struct Luks1Header {
  std::string cipher_name;  // "aes-xts-plain64", as written
  std::string hash;
  std::uint64_t payload_offset = 0;  // bytes; 0 where the header is detached
  std::uint32_t key_bytes = 0;
  std::vector<std::byte> digest;
  std::vector<std::byte> digest_salt;
  std::uint32_t digest_iterations = 0;
  std::string uuid;
  std::array<Luks1Slot, kLuks1Slots> slots;
};

// `bytes` starts with the magic and version 1 and holds kLuks1HeaderBytes. kDamaged says which
// field cannot be true.
engine::Result<Luks1Header> parse_luks1_header(engine::Bytes bytes);

}  // namespace latchkey::keyslots
