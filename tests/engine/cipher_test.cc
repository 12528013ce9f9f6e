#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "engine/sector_cipher.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::from_hex;

SecretBytes secret(const ByteVector& bytes) {
  return SecretBytes::copy_of(bytes);
}

std::unique_ptr<SectorCipher> cipher(const std::string& name, const ByteVector& key,
                                     std::uint32_t sector_bytes = 512,
                                     std::uint64_t first_tweak = 0) {
  auto spec = parse_cipher_spec(name);
  EXPECT_TRUE(spec.ok());
  spec->sector_bytes = sector_bytes;
  spec->first_tweak = first_tweak;
  spec->tweak_stride = sector_bytes / 512;
  auto made = make_sector_cipher(*spec, secret(key));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return made.ok() ? std::move(*made) : nullptr;
}

// IEEE 1619-2018, annex B, XTS-AES-128 vector 4: one 512-byte data unit, tweak 0.
TEST(Cipher, Ieee1619Vector4) {
  const ByteVector key =
      from_hex("2718281828459045235360287471352631415926535897932384626433832795");
  ByteVector plain(512);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i);
  const ByteVector expected = from_hex(
      "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89cc78cf7f5e543445f8333d8fa7f"
      "56000005279fa5d8b5e4ad40e736ddb4d35412328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c92cc512c"
      "8866c7e860ce93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad02655ea92dc4c4e41a"
      "8952c651d33174be51a10c421110e6d81588ede82103a252d8a750e8768defffed9122810aaeb99f9172af82b6"
      "04dc4b8e51bcb08235a6f4341332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c5c"
      "cf2a55d705ddcd86d449511ceb7ec30bf12b1fa35b913f9f747a8afd1b130e94bff94effd01a91735ca1726acd"
      "0b197c4e5b03393697e126826fb6bbde8ecc1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef52"
      "97ca67e9f3e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc2f801e23e56fd344b07f22154beba0f0"
      "8ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd74d20cc39881c213ee770b1010e4bea718846977ae"
      "119f7a023ab58cca0ad752afe656bb3c17256a9f6e9bf19fdd5a38fc82bbe872c5539edb609ef4f79c203ebb14"
      "0f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18deb4a427d1923ce3ff262735779a418"
      "f20a282df920147beabe421ee5319d0568");
  ByteVector out(512);
  const auto xts = cipher("aes-xts-plain64", key);
  xts->encrypt(0, plain, out);
  EXPECT_EQ(out, expected);
  xts->decrypt(0, out, out);
  EXPECT_EQ(out, plain);
}

struct Case {
  const char* name;
  std::size_t key_bytes;
};

class EveryCipher : public ::testing::TestWithParam<Case> {};

// Many sectors in one call equal sector by sector, in place equals out of place, and each sector's
// tweak differs.
TEST_P(EveryCipher, CallsOfManySectorsAgreeWithSingleOnes) {
  const std::uint64_t seed = test::test_seed();
  const ByteVector key = test::random_bytes(GetParam().key_bytes, seed);
  for (const std::uint32_t sector_bytes : {512U, 1024U, 2048U, 4096U}) {
    const auto c = cipher(GetParam().name, key, sector_bytes, 7);
    const std::size_t sectors = 9;
    const ByteVector plain(sectors * sector_bytes, std::byte{0x5a});
    ByteVector together(plain.size());
    c->encrypt(3, plain, together);
    for (std::size_t i = 0; i < sectors; ++i) {
      ByteVector one(sector_bytes);
      c->encrypt(3 + i, Bytes(plain).subspan(i * sector_bytes, sector_bytes), one);
      EXPECT_EQ(0, std::memcmp(one.data(), &together[i * sector_bytes], sector_bytes));
      if (i > 0) {
        EXPECT_NE(0, std::memcmp(one.data(), together.data(), sector_bytes));
      }
    }
    c->decrypt(3, together, together);
    EXPECT_EQ(together, plain);
  }
}

// LUKS counts tweaks in 512-byte units whatever the sector size.
TEST_P(EveryCipher, LargeSectorsStepTheirTweakBySectorsOf512) {
  const ByteVector key = test::random_bytes(GetParam().key_bytes, test::test_seed());
  const auto large = cipher(GetParam().name, key, 4096, 0);
  const auto shifted = cipher(GetParam().name, key, 4096, 16);
  const ByteVector plain(4096, std::byte{1});
  ByteVector a(4096);
  ByteVector b(4096);
  large->encrypt(2, plain, a);
  shifted->encrypt(0, plain, b);
  EXPECT_EQ(a, b);
}

TEST_P(EveryCipher, ManyThreadsShareOneCipher) {
  const ByteVector key = test::random_bytes(GetParam().key_bytes, test::test_seed());
  const auto c = cipher(GetParam().name, key);
  const ByteVector plain = test::random_bytes(8192, 1);
  ByteVector expected(plain.size());
  c->encrypt(40, plain, expected);
  std::vector<std::thread> threads;
  std::vector<int> agreed(24);
  for (std::size_t t = 0; t < agreed.size(); ++t) {  // more threads than pooled contexts
    threads.emplace_back([&, t] {
      ByteVector out(plain.size());
      bool same = true;
      for (int i = 0; i < 50; ++i) {
        c->encrypt(40, plain, out);
        same = same && out == expected;
        c->decrypt(40, out, out);
        same = same && out == plain;
      }
      agreed[t] = same ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(agreed, std::vector<int>(agreed.size(), 1));
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryCipher,
    ::testing::Values(Case{"aes-xts-plain64", 64}, Case{"aes-xts-plain64", 32},
                      Case{"aes-xts-plain", 64}, Case{"aes-cbc-plain", 16},
                      Case{"aes-cbc-plain", 32}, Case{"aes-cbc-plain64", 32},
                      Case{"aes-cbc-plain64", 24}, Case{"aes-cbc-essiv:sha256", 32},
                      Case{"aes-cbc-essiv:sha256", 16}, Case{"aes-xts-plain64be", 64},
                      Case{"camellia-cbc-plain64", 32}, Case{"aes-cbc-eboiv", 16},
                      Case{"aes-cbc-eboiv", 32}, Case{"aes-cbc-elephant", 32},
                      Case{"aes-cbc-elephant", 64}),
    [](const auto& test_case) {
      std::string name = test_case.param.name;
      for (char& ch : name) ch = std::isalnum(static_cast<unsigned char>(ch)) != 0 ? ch : '_';
      return name + "_" + std::to_string(test_case.param.key_bytes * 8);
    });

// "plain" is 32 bits wide and wraps; "plain64" does not. They agree below 2^32.
TEST(Cipher, PlainWrapsAt32Bits) {
  const ByteVector key = test::random_bytes(64, test::test_seed());
  const ByteVector plain(512);
  const auto narrow = cipher("aes-xts-plain", key);
  const auto wide = cipher("aes-xts-plain64", key);
  ByteVector a(512);
  ByteVector b(512);
  narrow->encrypt((1ULL << 32) + 5, plain, a);
  wide->encrypt(5, plain, b);
  EXPECT_EQ(a, b);
  wide->encrypt((1ULL << 32) + 5, plain, b);
  EXPECT_NE(a, b);
}

TEST(Cipher, UnknownOnesAreRefusedByName) {
  const ByteVector key(64, std::byte{1});
  for (const char* name :
       {"serpent-xts-plain64", "twofish-cbc-plain64", "aes-gcm-random", "aes-ctr-plain64",
        "aes-xts-eboiv", "aes-xts-elephant", "aes-cbc-eboiv:sha256", "aes-cbc-elephant:sha256",
        "aes-xts-benbi", "aes-xts-plain64:sha256", "aes-cbc-essiv:md99", "chacha20-cbc-plain64"}) {
    auto spec = parse_cipher_spec(name);
    ASSERT_TRUE(spec.ok());
    const auto made = make_sector_cipher(*spec, secret(key));
    ASSERT_FALSE(made.ok()) << name;
    EXPECT_EQ(made.error().code(), ErrorCode::kNotSupported);
    EXPECT_NE(made.error().message().find(name), std::string::npos) << made.error().message();
  }
  for (const char* name : {"", "aes", "aes-xts", "-xts-plain", "aes--plain", "cipher_null"}) {
    EXPECT_FALSE(parse_cipher_spec(name).ok()) << name;
  }
}

TEST(Cipher, KeySizesThatDoNotFitAreRefused) {
  auto spec = parse_cipher_spec("aes-xts-plain64");
  for (const std::size_t size : {0U, 1U, 16U, 31U, 33U, 48U, 63U, 65U, 128U}) {
    EXPECT_FALSE(make_sector_cipher(*spec, secret(test::random_bytes(size, 4))).ok()) << size;
  }
}

}  // namespace
}  // namespace latchkey::engine
