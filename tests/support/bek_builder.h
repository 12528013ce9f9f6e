// BEK files of every size there is, made by hand from the layout: 156 bytes as Windows 7 to 10
// write them, 180 with the volume's GUID (Windows 11), 200 and 224 with Azure's longer text.
#pragma once

#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

struct BekShape {
  std::string text = "ExternalKey";
  bool volume_guid = false;
  std::byte first_key_byte{0x40};  // the 32 bytes count up from it
};

inline constexpr std::string_view kAzureBekText = "BitLocker Extension Key Protector";
inline constexpr std::string_view kTestProtector = "03020100-0504-0706-0809-0A0B0C0D0E0F";
inline constexpr std::string_view kTestVolume = "A3A2A1A0-A5A4-A7A6-A8A9-AAABACADAEAF";

inline ByteVector test_bek_key(std::byte first = std::byte{0x40}) {
  ByteVector key(32);
  for (std::size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<std::byte>((std::to_integer<unsigned>(first) + i) & 0xff);
  }
  return key;
}

class BekBytes {
 public:
  template <class T>
  void put(T value) {
    const std::size_t at = bytes.size();
    bytes.resize(at + sizeof(T));
    engine::store_le<T>(bytes, at, value);
  }
  void put_guid(unsigned first) {
    for (unsigned i = 0; i < 16; ++i) bytes.push_back(static_cast<std::byte>(first + i));
  }
  void head(std::size_t size, std::uint16_t role, std::uint16_t type) {
    put<std::uint16_t>(static_cast<std::uint16_t>(size));
    put<std::uint16_t>(role);
    put<std::uint16_t>(type);
    put<std::uint16_t>(1);
  }
  ByteVector bytes;
};

inline ByteVector make_bek(const BekShape& shape = {}) {
  constexpr std::uint64_t kDate = 134022456160000000;  // 2025-09-13 14:00:16 UTC
  const std::size_t text_bytes = 8 + 2 * (shape.text.size() + 1);
  const std::size_t key_bytes = 8 + 4 + 32;
  const std::size_t inner = 8 + 24 + text_bytes + key_bytes + (shape.volume_guid ? 24 : 0);
  BekBytes bek;
  bek.put<std::uint32_t>(static_cast<std::uint32_t>(48 + inner));
  bek.put<std::uint32_t>(1);
  bek.put<std::uint32_t>(48);
  bek.put<std::uint32_t>(static_cast<std::uint32_t>(48 + inner));
  bek.put_guid(0);
  bek.put<std::uint64_t>(1);  // next nonce, method
  bek.put<std::uint64_t>(kDate);
  bek.head(inner, 6, 9);
  bek.put_guid(0);
  bek.put<std::uint64_t>(kDate);
  bek.head(text_bytes, 0, 2);
  for (const char c : shape.text) bek.put<std::uint16_t>(static_cast<std::uint16_t>(c));
  bek.put<std::uint16_t>(0);
  if (shape.volume_guid) {
    bek.head(24, 0x19, 0x17);
    bek.put_guid(0xa0);
  }
  bek.head(key_bytes, 0, 1);
  bek.put<std::uint32_t>(0x2002);
  for (const std::byte b : test_bek_key(shape.first_key_byte)) bek.bytes.push_back(b);
  return bek.bytes;
}

}  // namespace latchkey::test
