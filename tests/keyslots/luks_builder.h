// Valid LUKS headers made by hand, for tests that change one thing in them and for fuzzing. They
// hold no key that any passphrase opens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "keyslots/digest.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

inline void put_text(ByteVector& bytes, std::size_t at, std::string_view text) {
  const auto from = engine::as_bytes(text);
  std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

// aes-xts-plain64 with a 256-bit key, slot 0 active, payload at 2 MiB.
inline ByteVector luks1_header() {
  ByteVector bytes(592);
  const auto number = [&](std::size_t at, std::uint32_t value) {
    engine::store_be(engine::MutableBytes(bytes), at, value);
  };
  put_text(bytes, 0, std::string_view("LUKS\xba\xbe\0\1", 8));
  put_text(bytes, 8, "aes");
  put_text(bytes, 40, "xts-plain64");
  put_text(bytes, 72, "sha256");
  number(104, 4096);
  number(108, 32);
  number(164, 1000);
  put_text(bytes, 168, "11111111-2222-3333-4444-555555555555");
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    const std::size_t at = 208 + 48 * std::size_t{slot};
    number(at, slot == 0 ? 0x00ac71f3 : 0x0000dead);
    number(at + 4, slot == 0 ? 1000 : 0);
    number(at + 40, 8 + 256 * slot);
    number(at + 44, 4000);
  }
  return bytes;
}

// One slot of each kind, one segment.
inline std::string luks2_json() {
  return R"({"keyslots":{"0":{"type":"luks2","key_size":32,)"
         R"("af":{"type":"luks1","stripes":4000,"hash":"sha256"},)"
         R"("area":{"type":"raw","offset":"32768","size":"131072","encryption":"aes-xts-plain64",)"
         R"("key_size":32},"kdf":{"type":"pbkdf2","hash":"sha256","iterations":1000,)"
         R"("salt":"MDEyMzQ1Njc4OWFiY2RlZg=="}},)"
         R"("1":{"type":"luks2","key_size":32,"priority":2,)"
         R"("af":{"type":"luks1","stripes":4000,"hash":"sha256"},)"
         R"("area":{"type":"raw","offset":"163840","size":"131072","encryption":"aes-xts-plain64",)"
         R"("key_size":32},"kdf":{"type":"argon2id","time":4,"memory":32,"cpus":1,)"
         R"("salt":"MDEyMzQ1Njc4OWFiY2RlZg=="}}},)"
         R"("tokens":{"0":{"type":"systemd-tpm2","keyslots":["1"]}},)"
         R"("segments":{"0":{"type":"crypt","offset":"2097152","size":"dynamic","iv_tweak":"0",)"
         R"("encryption":"aes-xts-plain64","sector_size":512}},)"
         R"("digests":{"0":{"type":"pbkdf2","keyslots":["0","1"],"segments":["0"],)"
         R"("hash":"sha256","iterations":1000,"salt":"MDEyMzQ1Njc4OWFiY2RlZg==",)"
         R"("digest":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}},)"
         R"("config":{"json_size":"12288","keyslots_size":"2064384"}})";
}

inline constexpr std::size_t kLuks2CopyBytes = 16384;

// Puts the checksum of one copy right.
inline void seal_luks2_copy(ByteVector& image, std::size_t offset,
                            std::size_t size = kLuks2CopyBytes) {
  const auto digest = keyslots::Digest::find("sha256");
  keyslots::Hasher hasher(*digest);
  const auto copy = engine::MutableBytes(image).subspan(offset, size);
  std::fill_n(copy.begin() + 448, 64, std::byte{0});
  ByteVector sum(32);
  if (!hasher.hash({copy}, sum)) std::abort();
  std::copy(sum.begin(), sum.end(), copy.begin() + 448);
}

inline void put_luks2_copy(ByteVector& image, std::size_t offset, std::string_view json,
                           std::uint64_t sequence = 3) {
  const auto bytes = engine::MutableBytes(image);
  put_text(image, offset, offset == 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe");
  engine::store_be<std::uint16_t>(bytes, offset + 6, 2);
  engine::store_be<std::uint64_t>(bytes, offset + 8, kLuks2CopyBytes);
  engine::store_be<std::uint64_t>(bytes, offset + 16, sequence);
  put_text(image, offset + 24, "made by hand");
  put_text(image, offset + 72, "sha256");
  put_text(image, offset + 168, "11111111-2222-3333-4444-555555555555");
  engine::store_be<std::uint64_t>(bytes, offset + 256, offset);
  put_text(image, offset + 4096, json);
  seal_luks2_copy(image, offset);
}

// Both copies, the keyslots area and 64 KiB of payload.
inline ByteVector luks2_image(std::string_view json = luks2_json()) {
  ByteVector image(2097152 + 65536);
  put_luks2_copy(image, 0, json);
  put_luks2_copy(image, kLuks2CopyBytes, json);
  return image;
}

}  // namespace latchkey::test
