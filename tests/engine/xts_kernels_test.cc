// Every AES-XTS kernel this processor can run: published vectors, OpenSSL on random input, in place
// against out of place, and no byte touched outside the buffers.
#include <cstring>
#include <memory>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/ciphers/cpu_features.h"
#include "engine/ciphers/kernel_cipher.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine::kernels {
namespace {

using test::ByteVector;
using test::from_hex;

class EveryKernel : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  static std::unique_ptr<SectorCipher> cipher(const ByteVector& key, std::uint32_t sector_bytes,
                                              std::uint64_t first_tweak = 0,
                                              std::uint32_t stride = 1) {
    CipherSpec spec{.algorithm = "aes", .mode = "xts", .iv = "plain64", .iv_hash = ""};
    spec.sector_bytes = sector_bytes;
    spec.first_tweak = first_tweak;
    spec.tweak_stride = stride;
    return std::move(*make_kernel_cipher(spec, SecretBytes::copy_of(key), *GetParam()));
  }
};

// IEEE 1619-2018, annex B. The data units of vectors 1 to 3 are 32 bytes: any multiple of 16 will
// do. OpenSSL refuses to encrypt vector 1, whose key halves are equal.
struct Vector {
  const char* key;
  std::uint64_t tweak;
  const char* plain;
  const char* cipher;
};
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
};

TEST_P(EveryKernel, Ieee1619VectorsOneToThree) {
  for (const Vector& vector : kIeee1619) {
    const auto xts = cipher(from_hex(vector.key), 32, vector.tweak);
    const ByteVector plain = from_hex(vector.plain);
    ByteVector out(plain.size());
    xts->encrypt(0, plain, out);
    EXPECT_EQ(out, from_hex(vector.cipher));
    xts->decrypt(0, out, out);
    EXPECT_EQ(out, plain);
  }
}

// IEEE 1619-2018, annex B, XTS-AES-256 vector 10: its first and last 32 bytes.
TEST_P(EveryKernel, Ieee1619Vector10) {
  const ByteVector key = from_hex(
      "2718281828459045235360287471352662497757247093699959574966967627"
      "3141592653589793238462643383279502884197169399375105820974944592");
  ByteVector plain(512);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i);
  ByteVector out(512);
  const auto xts = cipher(key, 512, 0xff);
  xts->encrypt(0, plain, out);
  EXPECT_EQ(ByteVector(out.begin(), out.begin() + 32),
            from_hex("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"));
  xts->decrypt(0, out, out);
  EXPECT_EQ(out, plain);
}

ByteVector openssl_xts(const ByteVector& key, const ByteVector& plain, std::size_t unit_bytes,
                       std::uint64_t tweak, std::uint64_t stride) {
  ByteVector out(plain.size());
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(EVP_CIPHER_CTX_new(),
                                                                           EVP_CIPHER_CTX_free);
  const EVP_CIPHER* type = key.size() == 32 ? EVP_aes_128_xts() : EVP_aes_256_xts();
  for (std::size_t at = 0; at < plain.size(); at += unit_bytes, tweak += stride) {
    unsigned char iv[16] = {};
    for (std::size_t i = 0; i < 8; ++i) iv[i] = static_cast<unsigned char>(tweak >> (8 * i));
    int produced = 0;
    EXPECT_EQ(1, EVP_EncryptInit_ex(context.get(), type, nullptr,
                                    reinterpret_cast<const unsigned char*>(key.data()), iv));
    EXPECT_EQ(1, EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(&out[at]),
                                   &produced, reinterpret_cast<const unsigned char*>(&plain[at]),
                                   static_cast<int>(unit_bytes)));
    EXPECT_EQ(unit_bytes, static_cast<std::size_t>(produced));
  }
  return out;
}

TEST_P(EveryKernel, AgreesWithOpensslOnRandomInput) {
  const std::uint64_t seed = test::test_seed();
  for (const std::size_t key_bytes : {std::size_t{32}, std::size_t{64}}) {
    const ByteVector key = test::random_bytes(key_bytes, seed);
    for (const std::uint32_t unit : {16U, 48U, 112U, 128U, 272U, 512U, 528U, 1024U, 2048U, 4096U}) {
      for (const std::size_t sectors : {1U, 2U, 15U, 16U, 17U, 37U}) {
        // Tweaks that pass 2^32 and wrap at 2^64 on the way.
        for (const std::uint64_t tweak : {0ULL, 0xfffffff8ULL, 0xfffffffffffffff8ULL}) {
          const std::uint32_t stride = unit == 4096 ? 8 : 1;
          const ByteVector plain = test::random_bytes(sectors * unit, seed + sectors);
          const ByteVector expected = openssl_xts(key, plain, unit, tweak, stride);
          const auto xts = cipher(key, unit, tweak, stride);
          ByteVector out(plain.size());
          xts->encrypt(0, plain, out);
          ASSERT_EQ(out, expected) << unit << "-byte units, " << sectors << " of them, " << tweak;
          ByteVector in_place = plain;
          xts->encrypt(0, in_place, in_place);
          ASSERT_EQ(in_place, expected);
          xts->decrypt(0, in_place, in_place);
          ASSERT_EQ(in_place, plain);
          xts->decrypt(0, expected, out);
          ASSERT_EQ(out, plain);
        }
      }
    }
  }
}

TEST_P(EveryKernel, PlainTweaksWrapAt32Bits) {
  const ByteVector key = test::random_bytes(64, test::test_seed());
  CipherSpec spec{.algorithm = "aes", .mode = "xts", .iv = "plain", .iv_hash = ""};
  spec.first_tweak = 0xfffffffe;
  const auto wrapping =
      std::move(*make_kernel_cipher(spec, SecretBytes::copy_of(key), *GetParam()));
  const ByteVector plain = test::random_bytes(std::size_t{4} * 512, 3);
  ByteVector out(plain.size());
  wrapping->encrypt(0, plain, out);
  ByteVector expected = openssl_xts(key, plain, 512, 0xfffffffe, 1);
  const ByteVector wrapped =
      openssl_xts(key, ByteVector(plain.begin() + 1024, plain.end()), 512, 0, 1);
  std::memcpy(&expected[1024], wrapped.data(), wrapped.size());
  EXPECT_EQ(out, expected);
}

// Two pages that may be used between two that may not.
class GuardedPages {
 public:
  GuardedPages() : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    base_ = static_cast<std::byte*>(
        mmap(nullptr, 4 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(MAP_FAILED, static_cast<void*>(base_));
    EXPECT_EQ(0, mprotect(base_ + page_, 2 * page_, PROT_READ | PROT_WRITE));
  }
  ~GuardedPages() { munmap(base_, 4 * page_); }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  MutableBytes first(std::size_t bytes) { return {base_ + page_, bytes}; }
  MutableBytes last(std::size_t bytes) { return {base_ + 3 * page_ - bytes, bytes}; }

 private:
  const std::size_t page_;
  std::byte* base_;
};

TEST_P(EveryKernel, TouchesNothingOutsideItsBuffers) {
  const ByteVector key = test::random_bytes(64, test::test_seed());
  GuardedPages from;
  GuardedPages into;
  for (const std::uint32_t unit : {16U, 80U, 272U, 512U, 4096U}) {
    const std::size_t bytes = std::size_t{8192} / unit * unit;
    const auto xts = cipher(key, unit);
    xts->encrypt(0, from.first(bytes), into.first(bytes));
    xts->decrypt(0, from.last(bytes), into.last(bytes));
    xts->encrypt(0, from.last(unit), into.first(unit));
  }
}

INSTANTIATE_TEST_SUITE_P(Xts, EveryKernel,
                         ::testing::ValuesIn(usable_kernels(CpuFeatures::detect())),
                         [](const auto& kernel) { return std::string(kernel.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EveryKernel);  // no AES-NI here

#if defined(__x86_64__)
// Each feature masked off in turn.
TEST(KernelSets, FallBackAsFeaturesGoMissing) {
  using Sets = std::vector<const KernelSet*>;
  const CpuFeatures all{.aesni = true, .avx2 = true, .vaes = true, .avx512 = true};
  EXPECT_EQ(usable_kernels(all), (Sets{&kAvx512, &kAvx2, &kAesni}));
  CpuFeatures masked = all;
  masked.avx512 = false;
  EXPECT_EQ(usable_kernels(masked), (Sets{&kAvx2, &kAesni}));
  masked.avx2 = false;
  EXPECT_EQ(usable_kernels(masked), Sets{&kAesni});
  masked = all;
  masked.avx2 = false;
  EXPECT_EQ(usable_kernels(masked), (Sets{&kAvx512, &kAesni}));
  masked = all;
  masked.vaes = false;
  EXPECT_EQ(usable_kernels(masked), Sets{&kAesni});
  masked = all;
  masked.aesni = false;
  EXPECT_EQ(usable_kernels(masked), Sets());
  EXPECT_EQ(usable_kernels(CpuFeatures()), Sets());
}
#endif

}  // namespace
}  // namespace latchkey::engine::kernels
