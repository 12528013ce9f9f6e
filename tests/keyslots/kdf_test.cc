// Key derivation against published vectors, its limits, and the pieces below it.
#include "keyslots/kdf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/provider.h>

#include "keyslots/digest.h"
#include "keyslots/keys/base64.h"
#include "keyslots/luks/anti_forensic.h"
#include "tests/support/test_bytes.h"

namespace latchkey {
namespace {

using engine::as_bytes;
using engine::ErrorCode;
using keyslots::KdfSpec;
using test::ByteVector;
using test::from_hex;

constexpr keyslots::KdfLimits kGenerous{.memory_bytes = std::uint64_t{1} << 30, .seconds = 300};

ByteVector bytes_of(std::string_view text) {
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

KdfSpec pbkdf2(std::string hash, std::uint32_t iterations, std::string_view salt) {
  KdfSpec spec;
  spec.type = "pbkdf2";
  spec.hash = std::move(hash);
  spec.iterations = iterations;
  spec.salt = bytes_of(salt);
  return spec;
}

KdfSpec argon2(std::string type, std::uint32_t passes, std::uint32_t memory_kib,
               std::uint32_t lanes, std::string_view salt = "somesalt") {
  KdfSpec spec;
  spec.type = std::move(type);
  spec.iterations = passes;
  spec.memory_kib = memory_kib;
  spec.lanes = lanes;
  spec.salt = bytes_of(salt);
  return spec;
}

void expect_key(const KdfSpec& spec, std::string_view secret, std::string_view hex) {
  const ByteVector expected = from_hex(hex);
  auto key = keyslots::derive_key(spec, as_bytes(secret), expected.size(), kGenerous);
  ASSERT_TRUE(key.ok()) << key.error().message();
  EXPECT_TRUE(key->equals(expected)) << spec.describe();
}

engine::Error error_of(const KdfSpec& spec, const keyslots::KdfLimits& limits = kGenerous) {
  auto key = keyslots::derive_key(spec, as_bytes("password"), 32, limits);
  EXPECT_FALSE(key.ok()) << spec.describe();
  return key ? engine::Error(ErrorCode::kUsage, "none") : std::move(key).error();
}

// RFC 6070 section 2.
TEST(Pbkdf2, Rfc6070) {
  expect_key(pbkdf2("sha1", 1, "salt"), "password", "0c60c80f961f0e71f3a9b524af6012062fe037a6");
  expect_key(pbkdf2("sha1", 2, "salt"), "password", "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
  expect_key(pbkdf2("sha1", 4096, "salt"), "password", "4b007901b765489abead49d926f721d065a429c1");
  expect_key(pbkdf2("sha1", 4096, "saltSALTsaltSALTsaltSALTsaltSALTsalt"),
             "passwordPASSWORDpassword", "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038");
  expect_key(pbkdf2("sha1", 4096, std::string_view("sa\0lt", 5)), std::string_view("pass\0word", 9),
             "56fa6aa75548099dcc37d7f03425e0c3");
}

TEST(Pbkdf2, AnEmptySecretIsASecret) {
  expect_key(pbkdf2("sha256", 1, "salt"), "", "f135c27993baf98773c5cdb40a5706ce6a345cde");
}

// Computed with a PBKDF2 written out over Python's own sha3 and blake2 (no OpenSSL), the rest with
// its hashlib.
TEST(Pbkdf2, EveryHash) {
  const std::pair<const char*, const char*> vectors[] = {
      {"sha1", "e9febff54bfce668fde301acc85563cc9dc71ef6f8d7aaef067365be0e5e6522ef61bae1b00bc13b"},
      {"sha224",
       "511408f8ea174f33326118742ecb043611fa59e34e3cae356e1c2151e37b0468cf307b2699648b73"},
      {"sha256",
       "135f7a66144fcf0fb003ce048f31f024ed5cbff30525d3ba0bfb3199479362a6d4cd1327ec07a5bc"},
      {"sha384",
       "9c2af27410c6bfe294fda90b79736699f5c735ddcb4d743274c72054b82aeac6c020834ab060f2f8"},
      {"sha512",
       "43abf8c7027c6bd9d63e9d81784a006188474a8db14663d60114f5eef4e94b1b76aba88da7b04ea3"},
      {"sha512-256",
       "1723d8136fe51de2c571c65219ac8dff84f397eab4c8fe67d93f01cddda6b3f35768e406a864f80b"},
      {"sha3-224",
       "a4271deb69011f6b55dfba1bd97cc28bbeb7db4258f89cca82e2d2b898b5a4dd5f30c0beda7328aa"},
      {"sha3-256",
       "217c1c979b1af750296b38d0b396d74325f3469e02f19d065a591eb57a37c24d4d07ef0db8411eed"},
      {"sha3-384",
       "361762b20833b21a7c235e765710c60b020d470627beb3e62cfb2fc49eb3095f0225275d46de2fe4"},
      {"sha3-512",
       "1fcceb31607b075000dd3e9a439143170db74bd01b7ba69c1aae9e3b5751d6ab304c142da490a96b"},
      {"blake2b-512",
       "fdefba1677f8d9d5160df96fef6f2a0a6fa0dc82e04bf901d83c565a40e0a9feaff08b686818ee5e"},
      {"blake2s-256",
       "de0b704e9c165cbc2871b01f41c88b651c8706bd0536c1255989e3244c55705106ff9cff22776670"},
      {"ripemd160",
       "f7938ddd9460f4e5210cc457b6fc7dfdab1a61563d4cd8ee8b29af4fa6748acb05e5dd52a8919d64"},
  };
  for (const auto& [hash, hex] : vectors) {
    expect_key(pbkdf2(hash, 1000, "saltsalt"), "password", hex);
  }
}

// ISO's test string for Whirlpool; that PBKDF2 agrees with others is shown by a volume made with
// it.
TEST(Digest, WhirlpoolComesFromTheLegacyProviderAndLeavesTheDefaultAlone) {
  auto digest = keyslots::Digest::find("whirlpool");
  if (!digest) GTEST_SKIP() << "OpenSSL's legacy provider is not installed";
  keyslots::Hasher hasher(*digest);
  ByteVector out(digest->size_bytes());
  ASSERT_TRUE(hasher.hash({as_bytes("ab"), as_bytes("c")}, out));
  EXPECT_EQ(out, from_hex("4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"
                          "7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"));
  EXPECT_EQ(OSSL_PROVIDER_available(nullptr, "legacy"), 0);
  EXPECT_EQ(OSSL_PROVIDER_available(nullptr, "default"), 1);
}

TEST(Digest, NamesAreFoundInAnyCaseAndUnknownOnesAreNamed) {
  EXPECT_TRUE(keyslots::Digest::find("SHA256").ok());
  auto unknown = keyslots::Digest::find("md4\x1b[2J");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code(), ErrorCode::kNotSupported);
  EXPECT_EQ(unknown.error().message(), "hash 'md4?[2J' is not supported");
}

// Vectors of the reference implementation (version 0x13).
TEST(Argon2, ReferenceVectors) {
  expect_key(argon2("argon2i", 2, 65536, 1), "password",
             "c1628832147d9720c5bd1cfd61367078729f6dfb6f8fea9ff98158e0d7816ed0");
  expect_key(argon2("argon2i", 2, 256, 1), "password",
             "89e9029f4637b295beb027056a7336c414fadd43f6b208645281cb214a56452f");
  expect_key(argon2("argon2i", 2, 256, 2), "password",
             "4ff5ce2769a1d7f4c8a491df09d41a9fbe90e5eb02155a13e4c01e20cd4eab61");
  expect_key(argon2("argon2id", 2, 65536, 1), "password",
             "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
  expect_key(argon2("argon2id", 2, 256, 1), "password",
             "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
  expect_key(argon2("argon2id", 2, 256, 2), "password",
             "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037");
}

TEST(KdfLimits, MemoryIsRefusedBeforeItIsSpent) {
  const auto error = error_of(argon2("argon2id", 4, 4 * 1024 * 1024, 4));
  EXPECT_EQ(error.code(), ErrorCode::kNotSupported);
  EXPECT_EQ(error.message(), "argon2id wants 4096 MiB of memory, the limit is 1024 MiB");
  EXPECT_EQ(error.hint(), "allow it with --max-kdf-memory 4096M");
}

TEST(KdfLimits, TimeIsRefusedBeforeItIsSpent) {
  const auto slow =
      error_of(pbkdf2("sha512", 0x7fffffff, "salt"), {.memory_bytes = 0, .seconds = 5});
  EXPECT_EQ(slow.code(), ErrorCode::kNotSupported);
  EXPECT_THAT(slow.message(), testing::HasSubstr("the limit is 5 s"));
  EXPECT_THAT(slow.hint(), testing::StartsWith("allow it with --max-kdf-time "));
  const auto passes = error_of(argon2("argon2i", 1U << 30, 65536, 1));
  EXPECT_EQ(passes.code(), ErrorCode::kNotSupported);
}

TEST(KdfLimits, CostsThatNoImplementationAcceptsAreDamage) {
  EXPECT_EQ(error_of(pbkdf2("sha256", 0, "salt")).message(), "pbkdf2 with 0 iterations");
  EXPECT_EQ(error_of(argon2("argon2id", 0, 1024, 1)).message(), "argon2id with 0 passes");
  EXPECT_EQ(error_of(argon2("argon2id", 1, 1024, 0)).message(), "argon2id with 0 lanes");
  EXPECT_EQ(error_of(argon2("argon2id", 1, 31, 4)).message(),
            "argon2id with 31 KiB of memory for 4 lanes");
  EXPECT_EQ(error_of(argon2("argon2id", 1, 1024, 0x7fffffff)).message(),
            "argon2id with 2147483647 lanes");
  EXPECT_EQ(error_of(argon2("argon2id", 1, 1024, 1, "short")).message(),
            "argon2id with a salt of 5 bytes");
  EXPECT_EQ(error_of(argon2("argon2id", 1, 31, 4)).code(), ErrorCode::kDamaged);
}

TEST(KdfLimits, UnknownKindsAreNamed) {
  EXPECT_EQ(error_of(argon2("scrypt", 1, 1024, 1)).message(),
            "key derivation 'scrypt' is not supported");
  EXPECT_EQ(error_of(pbkdf2("md5", 1000, "salt")).message(), "hash 'md5' is not supported");
}

TEST(KdfLimits, DefaultsAreBounded) {
  const auto limits = keyslots::KdfLimits::defaults();
  EXPECT_GT(limits.memory_bytes, 0U);
  EXPECT_LE(limits.memory_bytes, std::uint64_t{4} << 30);
  EXPECT_EQ(limits.seconds, 300);
}

TEST(KdfSpec, Describes) {
  EXPECT_EQ(pbkdf2("sha256", 1000000, "s").describe(), "pbkdf2-sha256, 1000000 iterations");
  EXPECT_EQ(argon2("argon2id", 4, 1048576, 4).describe(), "argon2id, 1024 MiB, 4 passes, 4 lanes");
  EXPECT_EQ(argon2("argon2i", 1, 33, 1).describe(), "argon2i, 33 KiB, 1 pass, 1 lane");
}

// Split by a program of its own (Python, from the definition): 45 bytes 1, 2, ... over 4 stripes,
// so that the last chunk of each stripe is a short one.
TEST(AntiForensic, Merges) {
  const std::string stripes =
      "b4003809d3fd50dc3f82f9b18e6187a2b8db753b6b0295626ca3b5fbdcc3b902325b5247a3bf963f147f4d5b9c"
      "a0d99c8e345510c3ae1a1ef1f8eaa3de4ad8e3243cdf57e72d198c62e537cb9942387e71d17690bcabd43e0122"
      "b0a7363bde97cf93f83c5d1c90cd2a90b4651a14b202f7ce46fcebcf53df4f276462c4338af0972617013e0a35";
  ByteVector key;
  for (int i = 1; i <= 45; ++i) key.push_back(static_cast<std::byte>(i));
  const std::pair<const char*, const char*> lasts[] = {
      {"sha1",
       "ca03dcd9401eea7e5359696574c3c96194ad7c7e061e931e65641697452edf9e8db3928bccf5c0f70c88b58fb"
       "4"},
      {"sha256",
       "d176b95f051ec947ca5391d1402753171b33cf1166435aca0bf83c4431513067bce9294ac035339ab79d3ca9b"
       "9"}};
  for (const auto& [hash, last] : lasts) {
    auto merged = keyslots::anti_forensic_merge(from_hex(stripes + last), key.size(), 4, hash);
    ASSERT_TRUE(merged.ok()) << merged.error().message();
    EXPECT_TRUE(merged->equals(key)) << hash;
  }
}

TEST(AntiForensic, RefusesWhatCannotBe) {
  const ByteVector material(64);
  for (const auto& [key_bytes, stripes] :
       {std::pair<std::size_t, std::uint32_t>{16, 0}, {0, 4}, {16, 5}, {65, 1}, {16, 0xffffffff}}) {
    auto merged = keyslots::anti_forensic_merge(material, key_bytes, stripes, "sha1");
    ASSERT_FALSE(merged.ok()) << key_bytes << " x " << stripes;
    EXPECT_EQ(merged.error().code(), ErrorCode::kDamaged);
  }
  EXPECT_EQ(keyslots::anti_forensic_merge(material, 16, 4, "none").error().code(),
            ErrorCode::kNotSupported);
}

// RFC 4648 section 10, and what a strict decoder must not take.
TEST(Base64, Decodes) {
  const auto text_of = [](std::string_view encoded) -> std::string {
    const auto bytes = keyslots::decode_base64(encoded);
    if (!bytes) return "not base64";
    return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  };
  EXPECT_EQ(text_of(""), "");
  EXPECT_EQ(text_of("Zg=="), "f");
  EXPECT_EQ(text_of("Zm8="), "fo");
  EXPECT_EQ(text_of("Zm9v"), "foo");
  EXPECT_EQ(text_of("Zm9vYmFy"), "foobar");
  EXPECT_EQ(*keyslots::decode_base64("+/+/"), from_hex("fbffbf"));
  for (const char* bad : {"Z", "Zg=", "Zg", "Z===", "====", "Zm9v\n", "Zm 9",
                          "Zh==", "Zm9=", "=m9v", "Zg==Zg==", "-_-_"}) {
    EXPECT_FALSE(keyslots::decode_base64(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace latchkey
