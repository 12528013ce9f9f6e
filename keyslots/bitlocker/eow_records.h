// The structures of an encrypt-on-write recording, as they lie on the volume: FVE-EOW, which names
// everything else, and FVE-EOWBM with its two FVE-EOWBR, the bitmap of one region. Little-endian.
//
// Pure: bytes in, values out, every number bounded; eow.cc reads the bytes and puts the values
// together. kDamaged where a sum is wrong or a number cannot be true, kNotSupported where the sum
// holds but the form is one that is not known. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::keyslots {

// Bytes of the volume, counted from its start.
struct VolumeRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  std::uint64_t end() const noexcept { return offset + length; }
  bool operator==(const VolumeRange&) const = default;
};

// A literal with the NUL at its end.
template <std::size_t kSize>
constexpr std::string_view with_nul(const char (&text)[kSize]) noexcept {
  return {text, kSize};
}
inline constexpr std::string_view kEowInformationSignature = with_nul("FVE-EOW");
inline constexpr std::string_view kEowBitmapSignature = with_nul("FVE-EOWBM");
inline constexpr std::string_view kEowRecordSignature = with_nul("FVE-EOWBR");

inline constexpr std::size_t kEowInformationHeaderBytes = 56;
inline constexpr std::size_t kEowBitmapHeaderBytes = 60;
inline constexpr std::size_t kEowRecordHeaderBytes = 36;
// Seen are 1536, which is room for 3808 chunks of 8 MiB in a region of 258 MiB.
inline constexpr std::uint32_t kMaxEowBitmapBytes = 8 * 1024;

// How far a structure reaches, out of its first bytes (as many as the header has): what has to be
// read before it can be parsed.
engine::Result<std::size_t> eow_information_bytes(engine::Bytes header);
engine::Result<std::size_t> eow_bitmap_bytes(engine::Bytes header);

struct EowInformation {
  std::size_t size_bytes = 0;
  std::uint32_t sector_bytes = 0;
  std::uint32_t log_unit_bytes = 0;  // what one entry of a conversion log stands for
  std::uint64_t chunk_bytes = 0;
  std::uint32_t log_bytes = 0;
  std::uint32_t log_slot_bytes = 0;
  std::array<std::uint64_t, 2> own_offsets{};
  std::vector<std::uint64_t> bitmap_offsets;  // one a region; at least one
};

// `bytes`: exactly eow_information_bytes().
engine::Result<EowInformation> parse_eow_information(engine::Bytes bytes);

struct EowBitmap {
  std::size_t size_bytes = 0;
  VolumeRange region;
  std::uint64_t log_offset = 0;

  // Of the record that counts: the highest sequence whose sum holds.
  std::uint64_t sequence = 0;
  std::uint32_t bits = 0;
  std::vector<std::byte> bitmap;  // bit i, the lowest first: chunk i of the region is ciphertext
  // The other record is damaged and says of itself that it is newer.
  bool newer_is_damaged = false;

  bool is_ciphertext(std::uint64_t chunk) const noexcept {
    return (std::to_integer<unsigned>(bitmap[chunk / 8]) >> (chunk % 8) & 1U) != 0;
  }
};

// `bytes`: exactly eow_bitmap_bytes(). The record has a bit for every chunk of the region.
engine::Result<EowBitmap> parse_eow_bitmap(engine::Bytes bytes, std::uint64_t chunk_bytes);

}  // namespace latchkey::keyslots
