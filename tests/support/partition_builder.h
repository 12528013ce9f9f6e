// Makes disks with partition tables in memory, from the UEFI specification and the usual MBR
// layout, without the code under test.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {

// Bit by bit, where the engine has a table.
inline std::uint32_t slow_crc32(const ByteVector& bytes, std::size_t at, std::size_t length) {
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = at; i < at + length; ++i) {
    crc ^= std::to_integer<std::uint32_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
  }
  return ~crc;
}

struct MbrPart {
  std::uint8_t type = 0;
  std::uint32_t first = 0;
  std::uint32_t sectors = 0;
  std::uint8_t flag = 0;
};

// Entry table and signature of a boot record at byte `at`.
inline void put_boot_record(ByteVector& disk, std::size_t at, const std::vector<MbrPart>& parts) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t entry = at + 446 + i * 16;
    disk[entry] = static_cast<std::byte>(parts[i].flag);
    disk[entry + 4] = static_cast<std::byte>(parts[i].type);
    put_le<std::uint32_t>(disk, entry + 8, parts[i].first);
    put_le<std::uint32_t>(disk, entry + 12, parts[i].sectors);
  }
  disk[at + 510] = std::byte{0x55};
  disk[at + 511] = std::byte{0xaa};
}

struct GptPart {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::string name = "part";
};

struct GptDisk {
  std::size_t sector_bytes = 512;
  std::size_t sectors = 2048;
  std::uint32_t entry_count = 128;
  std::uint32_t entry_bytes = 128;
  std::vector<GptPart> parts;

  std::size_t array_sectors() const {
    return (std::size_t{entry_count} * entry_bytes + sector_bytes - 1) / sector_bytes;
  }
  std::size_t primary() const { return sector_bytes; }
  std::size_t primary_array() const { return 2 * sector_bytes; }
  std::size_t backup() const { return (sectors - 1) * sector_bytes; }
  std::size_t backup_array() const { return (sectors - 1 - array_sectors()) * sector_bytes; }
};

// Checksums of the header at byte `at` and of the array it points at.
inline void seal_gpt(ByteVector& disk, const GptDisk& gpt, std::size_t at) {
  const auto array = engine::load_le<std::uint64_t>(disk, at + 72);
  const std::uint64_t array_bytes = std::uint64_t{engine::load_le<std::uint32_t>(disk, at + 80)} *
                                    engine::load_le<std::uint32_t>(disk, at + 84);
  if (array < disk.size() / gpt.sector_bytes &&
      array_bytes <= disk.size() - array * gpt.sector_bytes) {
    put_le(disk, at + 88, slow_crc32(disk, array * gpt.sector_bytes, array_bytes));
  }
  put_le<std::uint32_t>(disk, at + 16, 0);
  put_le(disk, at + 16, slow_crc32(disk, at, 92));
}

inline void put_gpt_header(ByteVector& disk, const GptDisk& gpt, std::size_t at, std::size_t other,
                           std::size_t array) {
  put_text(disk, at, "EFI PART");
  put_le<std::uint32_t>(disk, at + 8, 0x00010000);
  put_le<std::uint32_t>(disk, at + 12, 92);
  put_le<std::uint64_t>(disk, at + 24, at / gpt.sector_bytes);
  put_le<std::uint64_t>(disk, at + 32, other / gpt.sector_bytes);
  put_le<std::uint64_t>(disk, at + 40, 2 + gpt.array_sectors());
  put_le<std::uint64_t>(disk, at + 48, gpt.sectors - 2 - gpt.array_sectors());
  for (std::size_t i = 0; i < 16; ++i) disk[at + 56 + i] = static_cast<std::byte>(0xa0 + i);
  put_le<std::uint64_t>(disk, at + 72, array / gpt.sector_bytes);
  put_le<std::uint32_t>(disk, at + 80, gpt.entry_count);
  put_le<std::uint32_t>(disk, at + 84, gpt.entry_bytes);
  seal_gpt(disk, gpt, at);
}

// "Linux filesystem", in the order it has on disk.
inline constexpr std::array<std::uint8_t, 16> kLinuxTypeOnDisk = {
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

inline void put_gpt_array(ByteVector& disk, const GptDisk& gpt, std::size_t at) {
  for (std::size_t i = 0; i < gpt.parts.size(); ++i) {
    const std::size_t entry = at + i * gpt.entry_bytes;
    for (std::size_t j = 0; j < 16; ++j) {
      disk[entry + j] = static_cast<std::byte>(kLinuxTypeOnDisk[j]);
      disk[entry + 16 + j] = static_cast<std::byte>(i + 1);
    }
    put_le<std::uint64_t>(disk, entry + 32, gpt.parts[i].first);
    put_le<std::uint64_t>(disk, entry + 40, gpt.parts[i].last);
    for (std::size_t j = 0; j < gpt.parts[i].name.size(); ++j) {
      put_le<std::uint16_t>(disk, entry + 56 + 2 * j,
                            static_cast<std::uint8_t>(gpt.parts[i].name[j]));
    }
  }
}

inline ByteVector make_gpt_disk(const GptDisk& gpt) {
  ByteVector disk(gpt.sectors * gpt.sector_bytes);
  put_boot_record(disk, 0, {{0xee, 1, static_cast<std::uint32_t>(gpt.sectors - 1)}});
  put_gpt_array(disk, gpt, gpt.primary_array());
  put_gpt_array(disk, gpt, gpt.backup_array());
  put_gpt_header(disk, gpt, gpt.primary(), gpt.backup(), gpt.primary_array());
  put_gpt_header(disk, gpt, gpt.backup(), gpt.primary(), gpt.backup_array());
  return disk;
}

}  // namespace latchkey::test
