// Every AES-CBC kernel and every diffuser this processor can run: published vectors, OpenSSL on
// random input under every tweak rule, the scalar diffuser, and no byte touched outside the
// buffers.
#include <openssl/sha.h>

#include "engine/ciphers/cipher_variants.h"
#include "tests/engine/kernel_testing.h"

namespace latchkey::engine::kernels {
namespace {

using test::from_hex;

class CbcKernels : public EveryKernelSet {};

// NIST SP 800-38A, F.2.1 to F.2.6.
constexpr const char* kNistPlain =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
struct Vector {
  const char* key;
  const char* cipher;
};
constexpr Vector kNist[] = {
    {"2b7e151628aed2a6abf7158809cf4f3c",
     "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
     "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"},
    {"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
     "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
     "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"},
    {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
     "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"},
};

// The vectors' IV is 00 01 ... 0f, which is nobody's sector number: ours is 0, so theirs is xored
// into the first block, where CBC would have done that.
TEST_P(CbcKernels, NistVectors) {
  ByteVector plain = from_hex(kNistPlain);
  for (std::size_t i = 0; i < 16; ++i) plain[i] ^= static_cast<std::byte>(i);
  for (const Vector& vector : kNist) {
    const auto cbc = cipher("aes-cbc-plain64", from_hex(vector.key), 64);
    ByteVector out(plain.size());
    cbc->encrypt(0, plain, out);
    EXPECT_EQ(out, from_hex(vector.cipher));
    cbc->decrypt(0, out, out);
    EXPECT_EQ(out, plain);
  }
}

std::string aes(const ByteVector& key, const char* mode) {
  return "AES-" + std::to_string(key.size() * 8) + "-" + mode;
}

ByteVector iv_of(const std::string& rule, const ByteVector& key, std::uint64_t tweak,
                 std::uint64_t sector_bytes) {
  if (rule == "plain") return little_endian_block(tweak & 0xffffffff);
  if (rule == "plain64") return little_endian_block(tweak);
  if (rule == "eboiv") {
    return openssl_encrypt(aes(key, "ECB"), key, {}, little_endian_block(tweak * sector_bytes));
  }
  ByteVector hash(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return openssl_encrypt("AES-256-ECB", hash, {}, little_endian_block(tweak));
}

ByteVector openssl_cbc(const std::string& rule, const ByteVector& key, const ByteVector& plain,
                       std::size_t unit, std::uint64_t tweak, std::uint64_t stride) {
  ByteVector out;
  for (std::size_t at = 0; at < plain.size(); at += unit, tweak += stride) {
    const ByteVector sector = openssl_encrypt(aes(key, "CBC"), key, iv_of(rule, key, tweak, unit),
                                              Bytes(plain).subspan(at, unit));
    out.insert(out.end(), sector.begin(), sector.end());
  }
  return out;
}

std::string spec_name(const std::string& rule) {
  return "aes-cbc-" + (rule == "essiv" ? "essiv:sha256" : rule);
}

TEST_P(CbcKernels, AgreeWithOpensslAtEveryLength) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const std::size_t key_bytes : {16U, 24U, 32U}) {
    const ByteVector key = test::random_bytes(key_bytes, random());
    for (std::size_t sectors = 1; sectors <= 70; ++sectors) {
      const ByteVector plain = test::random_bytes(sectors * 512, random());
      const std::uint64_t tweak = random();
      SCOPED_TRACE(std::to_string(sectors) + " sectors");
      expect_transform(*cipher("aes-cbc-plain64", key, 512, tweak), plain,
                       openssl_cbc("plain64", key, plain, 512, tweak, 1), random);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CbcKernels, AgreeWithOpensslUnderEveryTweakRule) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const char* rule : {"plain", "plain64", "essiv", "eboiv"}) {
    for (const std::size_t key_bytes : {16U, 24U, 32U}) {
      const ByteVector key = test::random_bytes(key_bytes, random());
      for (const std::uint32_t unit : {512U, 1024U, 4096U}) {
        for (const std::uint64_t tweak : {0ULL, 0xfffffffeULL, 0xfffffffffffffffeULL}) {
          const ByteVector plain = test::random_bytes(std::size_t{37} * unit, random());
          SCOPED_TRACE(std::string(rule) + ", " + std::to_string(unit) + " bytes");
          expect_transform(*cipher(spec_name(rule), key, unit, tweak, unit / 512), plain,
                           openssl_cbc(rule, key, plain, unit, tweak, unit / 512), random);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(CbcKernels, AgreeWithOpensslAtEverySectorSize) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  const ByteVector key = test::random_bytes(32, random());
  for (std::uint32_t unit = 16; unit <= 4096; unit += unit < 640 ? 16 : 432) {
    for (const std::size_t sectors : {1U, 2U, 3U, 5U, 8U, 9U, 33U}) {
      const ByteVector plain = test::random_bytes(sectors * unit, random());
      SCOPED_TRACE(std::to_string(sectors) + " of " + std::to_string(unit) + " bytes");
      expect_transform(*cipher("aes-cbc-plain64", key, unit, 5), plain,
                       openssl_cbc("plain64", key, plain, unit, 5, 1), random);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CbcKernels, TouchNothingOutsideTheirBuffers) {
  const ByteVector key = test::random_bytes(32, test::test_seed());
  for (const std::uint32_t unit : {16U, 48U, 80U, 272U, 512U, 528U, 4096U}) {
    for (const std::size_t sectors : {1U, 2U, 3U, 5U, 17U, 35U}) {
      expect_nothing_else_touched(*cipher("aes-cbc-essiv:sha256", key, unit), sectors * unit);
    }
  }
}

// The scalar diffuser, which is tested against the paper's formulas in bitlocker_cipher_test.cc.
TEST_P(CbcKernels, ElephantAgreesWithTheScalarDiffuser) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const std::size_t key_bytes : {32U, 64U}) {
    const ByteVector key = test::random_bytes(key_bytes, random());
    for (const std::uint32_t unit : {512U, 1024U, 2048U, 4096U}) {
      for (std::size_t sectors = 1; sectors <= 35; ++sectors) {
        const std::uint64_t tweak = random();
        auto spec = parse_cipher_spec("aes-cbc-elephant");
        spec->sector_bytes = unit;
        spec->first_tweak = tweak;
        const auto reference =
            make_sector_cipher(*spec, SecretBytes::copy_of(key), kOpensslVariant);
        ASSERT_TRUE(reference.ok());
        const ByteVector plain = test::random_bytes(sectors * unit, random());
        ByteVector ciphertext(plain.size());
        (*reference)->encrypt(0, plain, ciphertext);
        SCOPED_TRACE(std::to_string(sectors) + " of " + std::to_string(unit) + " bytes");
        expect_transform(*cipher("aes-cbc-elephant", key, unit, tweak), plain, ciphertext, random);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CbcKernels, ElephantTouchesNothingOutsideItsBuffers) {
  const ByteVector key = test::random_bytes(64, test::test_seed());
  for (const std::uint32_t unit : {512U, 1024U, 2048U, 4096U}) {
    for (const std::size_t sectors : {1U, 3U, 8U, 9U, 16U, 17U, 35U}) {
      expect_nothing_else_touched(*cipher("aes-cbc-elephant", key, unit), sectors * unit);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, CbcKernels,
                         ::testing::ValuesIn(usable_kernels(CpuFeatures::detect())),
                         kernel_set_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CbcKernels);  // no AES-NI here

}  // namespace
}  // namespace latchkey::engine::kernels
