// Where things stand in a LUKS2 header (LUKS2 on-disk format 1.1, sections 2 and 3): what the
// reader and the writers of it share. Constants; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace latchkey::keyslots {

// The binary header; the JSON area follows it. Integers are big-endian, texts padded with NUL.
inline constexpr std::size_t kLuks2BinaryBytes = 4096;
// The second copy's magic; the first has kLuksMagic.
inline constexpr std::string_view kLuks2SecondMagic{"SKUL\xba\xbe", 6};
inline constexpr std::uint16_t kLuks2Version = 2;

namespace luks2_at {
inline constexpr std::size_t kVersion = 6;
inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kSequence = 16;
inline constexpr std::size_t kLabel = 24;
inline constexpr std::size_t kChecksumName = 72;
inline constexpr std::size_t kSalt = 104;
inline constexpr std::size_t kUuid = 168;
inline constexpr std::size_t kSubsystem = 208;
inline constexpr std::size_t kOffset = 256;
inline constexpr std::size_t kChecksum = 448;
}  // namespace luks2_at

inline constexpr std::size_t kLuks2LabelBytes = 48;
inline constexpr std::size_t kLuks2ChecksumNameBytes = 32;
inline constexpr std::size_t kLuks2SaltBytes = 64;
inline constexpr std::size_t kLuks2UuidBytes = 40;
inline constexpr std::size_t kLuks2ChecksumBytes = 64;

// Where the second copy may stand is also how long each copy may be.
inline constexpr std::array<std::uint64_t, 9> kLuks2CopySizes{
    0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000};

// Key slot areas begin and end at multiples of this, behind the two copies.
inline constexpr std::uint64_t kLuks2AreaUnitBytes = 4096;
inline constexpr std::uint64_t kLuks2MaxKeyslotsBytes = std::uint64_t{128} << 20;
// The only number of anti-forensic stripes there is.
inline constexpr std::uint32_t kLuksStripes = 4000;

}  // namespace latchkey::keyslots
