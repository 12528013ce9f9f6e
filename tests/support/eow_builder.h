// Writes encrypt-on-write recordings into a byte array: what keyslots/bitlocker/eow.h reads, built
// a second time from the description of the format. Header-only; one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace latchkey::test {

struct EowRegionSpec {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::vector<bool> bits;  // true: ciphertext
  std::uint64_t bitmap_at = 0;
  std::uint64_t log_at = 0;
};

struct EowSpec {
  std::uint32_t sector_bytes = 512;
  std::uint32_t chunk_bytes = 64 * 1024;
  std::array<std::uint64_t, 2> places{};
  std::vector<EowRegionSpec> regions;

  std::uint32_t slot_bytes() const { return 1024 + chunk_bytes / 512 * 16; }
  std::uint32_t log_bytes() const { return 1024 + 2 * slot_bytes(); }
  std::size_t information_bytes() const { return 56 + 8 * regions.size(); }
};

class EowWriter {
 public:
  using Image = std::vector<std::byte>;
  static constexpr std::uint64_t kFirstRecord = 512;
  static constexpr std::uint64_t kSecondRecord = 1024;

  explicit EowWriter(Image& image) : image_(image) {}

  // Both copies, every bitmap (records of sequence 6 and, with other bits, 5), every log clean.
  void put_all(const EowSpec& spec) {
    for (const std::uint64_t place : spec.places) put_information(spec, place);
    for (std::size_t i = 0; i < spec.regions.size(); ++i) {
      const EowRegionSpec& region = spec.regions[i];
      put_bitmap(spec, i);
      std::vector<bool> older = region.bits;
      older.flip();
      put_record(region.bitmap_at + kFirstRecord, 5, older);
      put_record(region.bitmap_at + kSecondRecord, 6, region.bits);
      put_clean_log(spec, region.log_at);
    }
  }

  void put_information(const EowSpec& spec, std::uint64_t at) {
    clear(at, 512);
    put_text(at, "FVE-EOW");
    put(at + 8, 56, 2);
    put(at + 10, spec.information_bytes(), 2);
    put(at + 12, spec.sector_bytes, 4);
    put(at + 16, 512, 4);
    put(at + 20, spec.chunk_bytes, 4);
    put(at + 24, spec.log_bytes(), 4);
    put(at + 28, spec.slot_bytes(), 4);
    put(at + 32, spec.regions.size(), 4);
    put(at + 40, spec.places[0], 8);
    put(at + 48, spec.places[1], 8);
    for (std::size_t i = 0; i < spec.regions.size(); ++i) {
      put(at + 56 + 8 * i, spec.regions[i].bitmap_at, 8);
    }
    seal_information(at);
  }

  // The header; its records are put apart.
  void put_bitmap(const EowSpec& spec, std::size_t index) {
    const EowRegionSpec& region = spec.regions[index];
    const std::uint64_t at = region.bitmap_at;
    clear(at, 1536);
    put_text(at, "FVE-EOWBM");
    put(at + 10, 60, 2);
    put(at + 12, 1536, 4);
    put(at + 16, index, 4);
    put(at + 20, region.offset, 8);
    put(at + 28, region.length, 8);
    put(at + 36, region.log_at, 8);
    put(at + 44, kFirstRecord, 4);
    put(at + 48, kSecondRecord, 4);
    put(at + 52, 512, 4);
    seal_bitmap(at);
  }

  void put_record(std::uint64_t at, std::uint64_t sequence, const std::vector<bool>& bits) {
    clear(at, 512);
    put_text(at, "FVE-EOWBR");
    put(at + 10, 36, 2);
    put(at + 12, 512, 4);
    put(at + 16, bits.size(), 4);
    put(at + 20, sequence, 8);
    for (std::size_t i = 0; i < round_up_8(bits.size()) * 8; ++i) {
      // What lies behind the last bit is junk.
      if (i >= bits.size() || bits[i])
        image_[at + 36 + i / 8] |= static_cast<std::byte>(1U << i % 8);
    }
    seal_record(at);
  }

  void put_clean_log(const EowSpec& spec, std::uint64_t at) {
    clear(at, spec.log_bytes());
    put_text(at, "OLRDHEVF");
    put_text(at + spec.log_bytes() - 512, "OLRDHEVF");
    put_slot(spec, at, 0, 1, 0, {});
    put_slot(spec, at, 1, 2, 0, {});
  }

  // `offset` 0: an empty slot. Else the first 16 bytes of each sector are logged as they are in
  // `ciphertext`.
  void put_slot(const EowSpec& spec, std::uint64_t log_at, unsigned index, std::uint64_t sequence,
                std::uint64_t offset, const Image& ciphertext) {
    const std::uint64_t at = slot_at(spec, log_at, index);
    clear(at, spec.slot_bytes());
    const std::uint64_t data = at + 512;
    const std::size_t logged =
        offset == 0 ? spec.slot_bytes() - 1024 : ciphertext.size() / 512 * 16;
    for (std::size_t i = 0; i * 512 < ciphertext.size(); ++i) {
      std::memcpy(&image_[data + 16 * i], &ciphertext[512 * i], 16);
    }
    put(at, 32, 2);
    put(at + 2, 1, 2);
    put(at + 4, sequence, 8);
    put(at + 12, offset, 8);
    put(at + 20, logged, 4);
    put(at + 24, sum(data, logged), 4);
    seal_slot(at);
    std::memcpy(&image_[at + spec.slot_bytes() - 512], &image_[at], 512);
  }

  static std::uint64_t slot_at(const EowSpec& spec, std::uint64_t log_at, unsigned index) {
    return log_at + 512 + std::uint64_t{index} * spec.slot_bytes();
  }

  // After a change: the sums are right again.
  void seal_information(std::uint64_t at) { seal(at, get(at + 10, 2), 36); }
  void seal_bitmap(std::uint64_t at) { seal(at, get(at + 44, 4), 56); }
  void seal_record(std::uint64_t at) { seal(at, 512, 32); }
  void seal_slot(std::uint64_t at) { put(at + 28, sum(at, 28), 4); }

  void put(std::uint64_t at, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) image_.at(at + i) = std::byte(value >> 8 * i & 0xff);
  }
  std::uint64_t get(std::uint64_t at, unsigned bytes) const {
    std::uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
      value = value << 8 | std::to_integer<unsigned>(image_.at(at + i));
    return value;
  }

 private:
  static std::size_t round_up_8(std::size_t bits) { return (bits + 7) / 8; }
  void put_text(std::uint64_t at, std::string_view text) {
    std::memcpy(&image_.at(at), text.data(), text.size());
  }
  void clear(std::uint64_t at, std::size_t bytes) {
    std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(at), bytes, std::byte{0});
  }
  void seal(std::uint64_t at, std::size_t bytes, std::size_t sum_at) {
    put(at + sum_at, 0, 4);
    put(at + sum_at, sum(at, bytes), 4);
  }
  std::uint32_t sum(std::uint64_t at, std::size_t bytes) const {
    std::uint32_t value = 0xffffffff;
    for (std::size_t i = 0; i < bytes && at + i < image_.size(); ++i) {
      value ^= std::to_integer<std::uint32_t>(image_[at + i]);
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0xedb88320U : 0);
    }
    return ~value;
  }

  Image& image_;
};

}  // namespace latchkey::test
