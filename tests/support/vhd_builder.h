// Makes VHD files in memory, straight from Microsoft's specification and without the code under
// test, so that the two can disagree.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

inline void put_text(ByteVector& into, std::size_t at, std::string_view text) {
  std::transform(text.begin(), text.end(), into.begin() + static_cast<std::ptrdiff_t>(at),
                 [](char c) { return static_cast<std::byte>(c); });
}

template <std::unsigned_integral T>
void put_be(ByteVector& into, std::size_t at, T value) {
  engine::store_be(std::span(into), at, value);
}
template <std::unsigned_integral T>
void put_le(ByteVector& into, std::size_t at, T value) {
  engine::store_le(std::span(into), at, value);
}

// The checksum of a structure that begins at `at`, its field `field` bytes into it.
inline void seal_vhd(ByteVector& image, std::size_t at, std::size_t length, std::size_t field) {
  put_be<std::uint32_t>(image, at + field, 0);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < length; ++i) sum += std::to_integer<std::uint32_t>(image[at + i]);
  put_be<std::uint32_t>(image, at + field, ~sum);
}
inline void seal_vhd_footer(ByteVector& image, std::size_t at) {
  seal_vhd(image, at, 512, 64);
}
inline void seal_vhd_header(ByteVector& image, std::size_t at) {
  seal_vhd(image, at, 1024, 36);
}

struct VhdFooterFields {
  std::uint32_t type = 2;
  std::uint64_t data_offset = ~0ULL;
  std::uint64_t current_size = 0;
  std::string creator = "win ";
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
};

inline ByteVector make_vhd_footer(const VhdFooterFields& fields) {
  ByteVector footer(512);
  put_text(footer, 0, "conectix");
  put_be<std::uint32_t>(footer, 8, 2);
  put_be<std::uint32_t>(footer, 12, 0x00010000);
  put_be<std::uint64_t>(footer, 16, fields.data_offset);
  put_be<std::uint32_t>(footer, 24, 0x2715ab07);
  put_text(footer, 28, fields.creator);
  put_be<std::uint32_t>(footer, 32, 0x000a0000);
  put_text(footer, 36, "Wi2k");
  put_be<std::uint64_t>(footer, 40, fields.current_size);
  put_be<std::uint64_t>(footer, 48, fields.current_size);
  put_be<std::uint16_t>(footer, 56, fields.cylinders);
  footer[58] = static_cast<std::byte>(fields.heads);
  footer[59] = static_cast<std::byte>(fields.sectors);
  put_be<std::uint32_t>(footer, 60, fields.type);
  for (std::size_t i = 0; i < 16; ++i) footer[68 + i] = static_cast<std::byte>(i + 1);
  seal_vhd_footer(footer, 0);
  return footer;
}

// `disk`, then its footer.
inline ByteVector make_fixed_vhd(const ByteVector& disk, VhdFooterFields fields = {}) {
  if (fields.current_size == 0) fields.current_size = disk.size();
  ByteVector image = disk;
  const ByteVector footer = make_vhd_footer(fields);
  image.insert(image.end(), footer.begin(), footer.end());
  return image;
}

struct DynamicVhdFields {
  std::uint64_t disk_bytes = 0;
  std::uint32_t block_bytes = 2 * 1024 * 1024;
  std::uint32_t type = 3;
  std::string creator = "win ";
  std::map<std::uint32_t, ByteVector> blocks;  // block number: its data, at most block_bytes
  std::byte bitmap{0xff};                      // each byte of the bitmaps
};

// Where make_dynamic_vhd puts things.
inline constexpr std::size_t kVhdHeaderAt = 512;
inline constexpr std::size_t kVhdTableAt = 1536;

inline ByteVector make_dynamic_vhd(const DynamicVhdFields& fields) {
  const std::uint64_t entries = (fields.disk_bytes + fields.block_bytes - 1) / fields.block_bytes;
  const std::uint64_t table_bytes = engine::round_up(entries * 4, 512);
  const std::uint64_t bitmap_bytes =
      engine::round_up((fields.block_bytes / 512 + 7) / 8, std::uint64_t{512});
  VhdFooterFields footer_fields;
  footer_fields.type = fields.type;
  footer_fields.data_offset = kVhdHeaderAt;
  footer_fields.current_size = fields.disk_bytes;
  footer_fields.creator = fields.creator;
  const ByteVector footer = make_vhd_footer(footer_fields);

  ByteVector image(kVhdTableAt + table_bytes, std::byte{0xff});
  std::copy(footer.begin(), footer.end(), image.begin());
  std::fill_n(image.begin() + kVhdHeaderAt, 1024, std::byte{0});
  put_text(image, kVhdHeaderAt, "cxsparse");
  put_be<std::uint64_t>(image, kVhdHeaderAt + 8, ~0ULL);
  put_be<std::uint64_t>(image, kVhdHeaderAt + 16, kVhdTableAt);
  put_be<std::uint32_t>(image, kVhdHeaderAt + 24, 0x00010000);
  put_be<std::uint32_t>(image, kVhdHeaderAt + 28, static_cast<std::uint32_t>(entries));
  put_be<std::uint32_t>(image, kVhdHeaderAt + 32, fields.block_bytes);
  seal_vhd_header(image, kVhdHeaderAt);
  for (const auto& [block, data] : fields.blocks) {
    put_be<std::uint32_t>(image, kVhdTableAt + block * 4,
                          static_cast<std::uint32_t>(image.size() / 512));
    image.insert(image.end(), bitmap_bytes, fields.bitmap);
    image.insert(image.end(), data.begin(), data.end());
    image.insert(image.end(), fields.block_bytes - data.size(), std::byte{0});
  }
  image.insert(image.end(), footer.begin(), footer.end());
  return image;
}

}  // namespace latchkey::test
