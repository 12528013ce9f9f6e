// Key files in tests: written, read back as `--key` reads them, and told apart by their labels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "keyslots/keys/unknown_key.h"
#include "tests/support/bek_builder.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

inline ByteVector bytes_of(std::string_view text) {
  const auto bytes = engine::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

inline std::string text_of(engine::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// By OpenSSL, which the reader does not use for this.
inline std::string base64(engine::Bytes bytes, bool url = false) {
  std::string text(bytes.size() / 3 * 4 + 5, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  if (!url) return text;
  while (!text.empty() && text.back() == '=') text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}
inline std::string base64(std::string_view text) {
  return base64(engine::as_bytes(text));
}

// UTF-16 with a byte order mark, as Windows PowerShell redirects text into files.
inline ByteVector utf16_file(std::string_view text, bool big_endian) {
  ByteVector bytes = big_endian ? from_hex("feff") : from_hex("fffe");
  for (const char c : text) {
    if (big_endian) bytes.push_back(std::byte{0});
    bytes.push_back(static_cast<std::byte>(c));
    if (!big_endian) bytes.push_back(std::byte{0});
  }
  return bytes;
}

// "external-key", ... with the label behind it.
inline const char* kind_name(keyslots::SecretKind kind) {
  switch (kind) {
    case keyslots::SecretKind::kPassphrase:
      return "passphrase";
    case keyslots::SecretKind::kKeyFile:
      return "key-file";
    case keyslots::SecretKind::kRecoveryPassword:
      return "recovery";
    case keyslots::SecretKind::kExternalKey:
      return "external";
    case keyslots::SecretKind::kRawKey:
      return "raw";
  }
  return "?";
}

class KeyFiles : public ::testing::Test {
 protected:
  std::string write(const ByteVector& bytes, const std::string& name = "key") {
    const auto path = dir_ / name;
    write_file(path, bytes);
    return path.string();
  }
  std::string write(std::string_view text, const std::string& name = "key") {
    return write(bytes_of(text), name);
  }

  keyslots::ReadKey read(const std::string& path, keyslots::Kek* kek = nullptr) {
    auto read = keyslots::read_unknown_key(path, {.kek = kek});
    EXPECT_TRUE(read.ok()) << (read ? "" : read.error().message());
    return read ? std::move(*read) : keyslots::ReadKey{};
  }
  keyslots::ReadKey read_text(std::string_view text, keyslots::Kek* kek = nullptr) {
    return read(write(text), kek);
  }
  engine::Error refusal(const std::string& path, keyslots::Kek* kek = nullptr) {
    auto read = keyslots::read_unknown_key(path, {.kek = kek});
    EXPECT_FALSE(read.ok()) << "it was read";
    return read ? engine::Error(engine::ErrorCode::kSystem, "") : std::move(read).error();
  }

  // Exactly the key of a BEK, and nothing else.
  static void expect_bek(const keyslots::ReadKey& read, std::byte first = std::byte{0x40}) {
    ASSERT_EQ(read.secrets.size(), 1U);
    EXPECT_EQ(read.secrets[0].kind, keyslots::SecretKind::kExternalKey);
    EXPECT_TRUE(read.secrets[0].bytes.equals(test_bek_key(first)));
    EXPECT_EQ(read.secrets[0].protector_id, kTestProtector);
    EXPECT_TRUE(read.left_out.empty());
  }

  // The key of a BEK before whatever else the bytes may be.
  static void expect_bek_first(const keyslots::ReadKey& read) {
    ASSERT_FALSE(read.secrets.empty());
    EXPECT_EQ(read.secrets[0].kind, keyslots::SecretKind::kExternalKey);
    EXPECT_TRUE(read.secrets[0].bytes.equals(test_bek_key()));
  }

  // "passphrase:text" of each reading, in order.
  static std::vector<std::string> readings(const keyslots::ReadKey& read) {
    std::vector<std::string> out;
    for (const auto& secret : read.secrets) {
      out.push_back(std::string(kind_name(secret.kind)) + ":" + text_of(secret.bytes.span()));
    }
    return out;
  }

  TempDir dir_;
};

}  // namespace latchkey::test
