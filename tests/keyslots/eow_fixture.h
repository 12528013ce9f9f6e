// A volume with an encrypt-on-write recording, for tests to spoil and read.
#pragma once

#include <algorithm>
#include <optional>
#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/memory_device.h"
#include "keyslots/bitlocker/eow.h"
#include "tests/support/eow_builder.h"
#include "tests/support/test_bytes.h"

namespace latchkey::keyslots {

inline void PrintTo(const VolumeRange& range, std::ostream* out) {  // NOLINT: gtest's name
  *out << range.length << " bytes at " << range.offset;
}

inline constexpr std::uint64_t kKib = 1024;
inline constexpr std::uint64_t kChunk = 64 * kKib;
inline constexpr std::uint64_t kRegion = 8 * kKib;  // not at a chunk

// A volume of 2 MiB: a region from 8 KiB on whose last chunk is short, the relocated block as a
// region of its own, then the recording.
class EowTest : public ::testing::Test {
 protected:
  EowTest() {
    spec_.places = {1024 * kKib, 1100 * kKib};
    spec_.regions = {{kRegion,
                      4 * kChunk + 10 * kKib,
                      {true, false, false, true, false},
                      1028 * kKib,
                      1040 * kKib},
                     {512 * kKib, 8 * kKib, {false}, 1032 * kKib, 1060 * kKib}};
    writer_.put_all(spec_);
  }

  engine::Result<std::optional<EowState>> read() {
    engine::MemoryDevice device(image_, false);
    notices_ = {};
    return read_eow(device, spec_.places, spec_.sector_bytes, notices_);
  }
  EowState state() {
    auto got = read();
    EXPECT_TRUE(got.ok()) << got.error().message();
    if (!got.ok() || !*got) {
      ADD_FAILURE() << "no recording";
      return {};
    }
    return **got;
  }
  void expect_refused(engine::ErrorCode code, const std::string& words) {
    auto got = read();
    ASSERT_FALSE(got.ok()) << "accepted; expected: " << words;
    EXPECT_EQ(got.error().code(), code) << got.error().message();
    EXPECT_THAT(got.error().message(), ::testing::HasSubstr(words));
  }
  // The first sectors of chunk 1 of the first region have been encrypted, or are still.
  static constexpr std::uint64_t kCutChunk = kRegion + kChunk;
  void cut_conversion(unsigned slot, std::uint64_t sequence, unsigned encrypted_sectors) {
    test::ByteVector ciphertext = test::random_bytes(kChunk, 99);
    std::copy_n(ciphertext.begin(), std::size_t{encrypted_sectors} * 512,
                image_.begin() + static_cast<std::ptrdiff_t>(kCutChunk));
    writer_.put_slot(spec_, spec_.regions[0].log_at, slot, sequence, kCutChunk, ciphertext);
  }
  std::uint64_t slot(unsigned index) const {
    return test::EowWriter::slot_at(spec_, spec_.regions[0].log_at, index);
  }
  std::uint64_t record(unsigned index) const {
    return spec_.regions[0].bitmap_at +
           (index == 0 ? test::EowWriter::kFirstRecord : test::EowWriter::kSecondRecord);
  }
  void spoil(std::uint64_t at) { image_[at] ^= std::byte{0x40}; }

  test::EowSpec spec_;
  test::ByteVector image_ = test::random_bytes(2048 * kKib, 7);
  test::EowWriter writer_{image_};
  engine::Notices notices_;
};

}  // namespace latchkey::keyslots
