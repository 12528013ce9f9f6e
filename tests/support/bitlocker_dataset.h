// The metadata of a BitLocker volume that tests build: datums, protectors, the sealed copy.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>

#include "tests/support/bitlocker_builder.h"

namespace latchkey::test {

// 2025-09-13 14:00:16 UTC as a FILETIME: when every test volume was made.
inline constexpr std::uint64_t kFveCreated = 134'022'456'160'000'000;

inline constexpr std::size_t kFveDatasetAt = 64;      // after the header of the copy
inline constexpr std::size_t kFveFirstDatumAt = 112;  // after the header of the dataset

void fve_put(ByteVector& bytes, std::size_t at, std::uint64_t value, unsigned count);
// The polynomial of zlib, a bit at a time.
std::uint32_t fve_crc32(const ByteVector& bytes);
std::uint64_t fve_get(const ByteVector& bytes, std::size_t at, unsigned count);

class FveDataset {
 public:
  explicit FveDataset(std::uint64_t seed) : random_(seed) {}

  ByteVector random_bytes(std::size_t count);
  // Role, type and contents.
  static ByteVector datum(std::uint16_t role, std::uint16_t type, const ByteVector& contents,
                          std::uint16_t flags = 1);
  static ByteVector text(std::uint16_t role, std::u16string_view text);
  static ByteVector key(std::uint16_t role, std::uint16_t key_type, const ByteVector& key,
                        std::uint16_t flags = 1);
  // A key sealed under another.
  ByteVector sealed(std::uint16_t role, const ByteVector& under, std::uint16_t key_type,
                    const ByteVector& key);
  ByteVector protector(const FveProtector& wanted, const FveVolume& volume, FveWayIn& way_in);

  std::uint32_t next_nonce() const { return nonce_; }

 private:
  ByteVector clear_key(const FveVolume& volume);
  ByteVector external_key(const FveProtector& wanted, const FveVolume& volume,
                          const ByteVector& guid, FveWayIn& way_in);
  ByteVector recovery(const FveVolume& volume, FveWayIn& way_in);
  ByteVector passphrase(const FveProtector& wanted, const FveVolume& volume);

  std::mt19937_64 random_;
  std::uint32_t nonce_ = 1;
};

// "4381F759-C4F8-4DE0-BB61-FC33A831BDA5"
std::string fve_guid_text(const ByteVector& guid);
// One whole copy of the metadata, 64 KiB, sealed. Sets the volume's keys and ways in.
ByteVector make_fve_copy(const FveSpec& spec, FveVolume& volume);

}  // namespace latchkey::test
