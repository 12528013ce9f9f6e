// Every AES-XTS kernel this processor can run: published vectors, OpenSSL on random input, and no
// byte touched outside the buffers.
#include "tests/engine/kernel_testing.h"

namespace latchkey::engine::kernels {
namespace {

using test::from_hex;

class XtsKernels : public EveryKernelSet {};

struct Vector {
  const char* key;
  std::uint64_t tweak;
  const char* plain;  // null: the bytes 0 to 255, twice
  const char* cipher;
};

// IEEE 1619-2018, annex B. The data units of vectors 1 to 3 are 32 bytes: any multiple of 16 will
// do. OpenSSL refuses to encrypt vector 1, whose key halves are equal. Vectors 15 to 19 are of
// units that are not whole blocks: no disk has such sectors, and the kernels do not do them.
constexpr Vector kIeee1619[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", 0,
     "0000000000000000000000000000000000000000000000000000000000000000",
     "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"},
    {"1111111111111111111111111111111122222222222222222222222222222222", 0x3333333333,
     "4444444444444444444444444444444444444444444444444444444444444444",
     "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"},
    {"fffefdfcfbfaf9f8f7f6f5f4f3f2f1f022222222222222222222222222222222", 0x3333333333,
     "4444444444444444444444444444444444444444444444444444444444444444",
     "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89"},
    // 4
    {"2718281828459045235360287471352631415926535897932384626433832795", 0, nullptr,
     "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89cc78cf7f5e543445f8333d8"
     "fa7f56000005279fa5d8b5e4ad40e736ddb4d35412328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c"
     "92cc512c8866c7e860ce93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad02655e"
     "a92dc4c4e41a8952c651d33174be51a10c421110e6d81588ede82103a252d8a750e8768defffed9122810a"
     "aeb99f9172af82b604dc4b8e51bcb08235a6f4341332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690d"
     "b4eae29c5f1badd03c5ccf2a55d705ddcd86d449511ceb7ec30bf12b1fa35b913f9f747a8afd1b130e94bf"
     "f94effd01a91735ca1726acd0b197c4e5b03393697e126826fb6bbde8ecc1e08298516e2c9ed03ff3c1b78"
     "60f6de76d4cecd94c8119855ef5297ca67e9f3e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc"
     "2f801e23e56fd344b07f22154beba0f08ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd74d20c"
     "c39881c213ee770b1010e4bea718846977ae119f7a023ab58cca0ad752afe656bb3c17256a9f6e9bf19fdd"
     "5a38fc82bbe872c5539edb609ef4f79c203ebb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d"
     "6c017db738b18deb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568"},
    // 10
    {"2718281828459045235360287471352662497757247093699959574966967627"
     "3141592653589793238462643383279502884197169399375105820974944592",
     0xff, nullptr,
     "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317"
     "f9ac683f44680a86ac35adfc3345befecb4bb188fd5776926c49a3095eb108fd1098baec70aaa66999a72a"
     "82f27d848b21d4a741b0c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca2a"
     "3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0b5781c34803fa75421c790df"
     "e1de1834f280d7667b327f6c8cd7557e12ac3a0f93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c"
     "50841473d1a8cc81ec583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a84e1"
     "8e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1505eb309326d68378f8374595c"
     "849d84f4c333ec4423885143cb47bd71c5edae9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f"
     "6a975a44a0f90c29a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac6e333b"
     "93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f645e8b7e9bfdef33943054ff8401"
     "1493c27b3429eaedb4ed5376441a77ed43851ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7"
     "ab4066193c4caa773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"},
};
// The first and the last block of a data unit of 512 bytes, from the same annex.
struct Ends {
  std::uint64_t tweak;
  const char* first;
  const char* last;
};
// The key of vector 4. Each data unit's ciphertext is the plaintext of the next one, and the
// vectors are numbers 1, 2, 0xfd, 0xfe and 0xff of that chain.
constexpr Ends kVectors5To9[] = {
    {0x01, "264d3ca8512194fec312c8c9891f279f", "fd2a89ccb45e001a03a867b187f225dd"},
    {0x02, "fa762a3680b76007928ed4a4f49a9456", "4bcf518138dc3a25c5e236171a2d01d6"},
    {0xfd, "d55f684f81f4426e9fde92a5ff02df2a", "1d1c0a6783e011fc536d63d053260637"},
    {0xfe, "72efc1ebfe1ee25975a6eb3aa8589dda", "883accdbe1104eef0cfdb54e12fb230a"},
    {0xff, "3260ae8dad1f4a32c5cafe3ab0eb9554", "c8a8679ccb84c26555440ec7f10445cd"},
};
// The key and the plaintext of vector 10.
constexpr Ends kVectors11To14[] = {
    {0xffff, "77a31251618a15e6b92d1d66dffe7b50", "a4f9e27b42af8100cb9d59cef9645803"},
    {0xffffff, "e387aaa58ba483afa7e8eb469778317e", "2263a1eef52dd6888c309f5a7d712826"},
    {0xffffffff, "bf53d2dade78e822a4d949a9bc6766b0", "4c82f335abb152c4a93411373aaa8220"},
    {0xffffffffff, "64497e5a831e4a932c09be3e5393376d", "d609d273ad5b0d59631c531f6a0a57b9"},
};
// NIST's XTSVS, the file with data unit sequence numbers for AES-128, count 6.
constexpr Vector kNist[] = {
    {"8b737d182017a79a613929b07b70e80e74235daab3f4d3d55ef4d52adbc44e06", 99,
     "895bf08d41b28798be0f576fdb03b710", "66322199dd397609231cb3e9495f992e"},
};

ByteVector plain_of(const Vector& vector) {
  if (vector.plain != nullptr) return from_hex(vector.plain);
  ByteVector plain(512);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i);
  return plain;
}

void check(const SectorCipher& cipher, const Vector& vector) {
  const ByteVector plain = plain_of(vector);
  ByteVector out(plain.size());
  cipher.encrypt(0, plain, out);
  EXPECT_EQ(out, from_hex(vector.cipher));
  cipher.decrypt(0, out, out);
  EXPECT_EQ(out, plain);
}

TEST_P(XtsKernels, Ieee1619Vectors) {
  for (const Vector& vector : kIeee1619) {
    SCOPED_TRACE(vector.cipher);
    const auto unit = static_cast<std::uint32_t>(plain_of(vector).size());
    check(*cipher("aes-xts-plain64", from_hex(vector.key), unit, vector.tweak), vector);
  }
}

void expect_ends(const ByteVector& unit, const Ends& ends) {
  SCOPED_TRACE(ends.first);
  EXPECT_EQ(ByteVector(unit.begin(), unit.begin() + 16), from_hex(ends.first));
  EXPECT_EQ(ByteVector(unit.end() - 16, unit.end()), from_hex(ends.last));
}

TEST_P(XtsKernels, Ieee1619Vectors5To9) {
  const Vector& vector4 = kIeee1619[3];
  const auto xts = cipher("aes-xts-plain64", from_hex(vector4.key), 512);
  ByteVector unit = plain_of(vector4);
  const Ends* next = std::begin(kVectors5To9);
  for (std::uint64_t number = 0; number <= 0xff; ++number) {
    ByteVector out(unit.size());
    xts->encrypt(number, unit, out);
    if (next != std::end(kVectors5To9) && number == next->tweak) expect_ends(out, *next++);
    ByteVector back(unit.size());
    xts->decrypt(number, out, back);
    ASSERT_EQ(back, unit) << number;
    unit = std::move(out);
  }
  EXPECT_EQ(next, std::end(kVectors5To9));
}

TEST_P(XtsKernels, Ieee1619Vectors11To14) {
  const Vector& vector10 = kIeee1619[4];
  const ByteVector plain = plain_of(vector10);
  for (const Ends& ends : kVectors11To14) {
    const auto xts = cipher("aes-xts-plain64", from_hex(vector10.key), 512, ends.tweak);
    ByteVector out(plain.size());
    xts->encrypt(0, plain, out);
    expect_ends(out, ends);
    xts->decrypt(0, out, out);
    EXPECT_EQ(out, plain);
  }
}

TEST_P(XtsKernels, NistVectors) {
  for (const Vector& vector : kNist) {
    check(*cipher("aes-xts-plain64", from_hex(vector.key), 16, vector.tweak), vector);
  }
}

ByteVector openssl_xts(const ByteVector& key, const ByteVector& plain, std::size_t unit_bytes,
                       std::uint64_t tweak, std::uint64_t stride, std::uint64_t mask = ~0ULL) {
  const char* name = key.size() == 32 ? "AES-128-XTS" : "AES-256-XTS";
  ByteVector out;
  for (std::size_t at = 0; at < plain.size(); at += unit_bytes, tweak += stride) {
    const ByteVector unit = openssl_encrypt(name, key, little_endian_block(tweak & mask),
                                            Bytes(plain).subspan(at, unit_bytes));
    out.insert(out.end(), unit.begin(), unit.end());
  }
  return out;
}

TEST_P(XtsKernels, AgreeWithOpensslAtEveryLength) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const std::size_t key_bytes : {32U, 64U}) {
    const ByteVector key = test::random_bytes(key_bytes, random());
    for (std::size_t sectors = 1; sectors <= 70; ++sectors) {
      const ByteVector plain = test::random_bytes(sectors * 512, random());
      const std::uint64_t tweak = random();
      SCOPED_TRACE(std::to_string(sectors) + " sectors");
      expect_transform(*cipher("aes-xts-plain64", key, 512, tweak), plain,
                       openssl_xts(key, plain, 512, tweak, 1), random);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(XtsKernels, AgreeWithOpensslAtEverySectorSize) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  for (const std::size_t key_bytes : {32U, 64U}) {
    const ByteVector key = test::random_bytes(key_bytes, random());
    for (std::uint32_t unit = 16; unit <= 4096; unit += unit < 640 ? 16 : 432) {
      for (const std::size_t sectors : {1U, 2U, 7U, 33U}) {
        // Tweaks that pass 2^32 and wrap at 2^64 on the way.
        for (const std::uint64_t tweak : {0xfffffff8ULL, 0xfffffffffffffff8ULL}) {
          const std::uint32_t stride = unit == 4096 ? 8 : 1;
          const ByteVector plain = test::random_bytes(sectors * unit, random());
          SCOPED_TRACE(std::to_string(sectors) + " of " + std::to_string(unit) + " bytes");
          expect_transform(*cipher("aes-xts-plain64", key, unit, tweak, stride), plain,
                           openssl_xts(key, plain, unit, tweak, stride), random);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(XtsKernels, PlainTweaksWrapAt32Bits) {
  std::mt19937_64 random(test::test_seed());
  const ByteVector key = test::random_bytes(64, random());
  const ByteVector plain = test::random_bytes(std::size_t{40} * 512, random());
  expect_transform(*cipher("aes-xts-plain", key, 512, 0xfffffffe), plain,
                   openssl_xts(key, plain, 512, 0xfffffffe, 1, 0xffffffff), random);
}

TEST_P(XtsKernels, TouchNothingOutsideTheirBuffers) {
  const ByteVector key = test::random_bytes(64, test::test_seed());
  for (const std::uint32_t unit : {16U, 48U, 80U, 272U, 512U, 528U, 4096U}) {
    for (const std::size_t sectors : {1U, 3U, 17U, 35U}) {
      expect_nothing_else_touched(*cipher("aes-xts-plain64", key, unit), sectors * unit);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, XtsKernels,
                         ::testing::ValuesIn(usable_kernels(CpuFeatures::detect())),
                         kernel_set_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(XtsKernels);  // no AES-NI here

}  // namespace
}  // namespace latchkey::engine::kernels
