// Which variant is taken, which can be asked for, and what is said when it cannot be had.
#include "engine/ciphers/cipher_variants.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/ciphers/cpu_features.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using ::testing::HasSubstr;

SecretBytes key_of(std::size_t size) {
  return SecretBytes::copy_of(test::random_bytes(size, 1));
}

struct Case {
  const char* name;
  std::size_t key_bytes;
};
constexpr Case kWithKernels[] = {
    {"aes-xts-plain64", 32},      {"aes-xts-plain", 64},    {"aes-cbc-plain64", 16},
    {"aes-cbc-plain", 24},        {"aes-cbc-eboiv", 32},    {"aes-cbc-essiv:sha256", 16},
    {"aes-cbc-essiv:sha256", 32}, {"aes-cbc-elephant", 32}, {"aes-cbc-elephant", 64},
};

TEST(CipherVariants, ListEndsWithOpenssl) {
  const auto names = usable_cipher_variants();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "openssl");
}

TEST(CipherVariants, TheFastestIsTheDefault) {
  const auto fastest = usable_cipher_variants().front();
  const auto in_force = cipher_variant();
  ASSERT_TRUE(in_force.ok()) << in_force.error().message();
  EXPECT_EQ(*in_force, fastest);
  for (const Case& c : kWithKernels) {
    const auto made = make_sector_cipher(*parse_cipher_spec(c.name), key_of(c.key_bytes));
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_EQ((*made)->variant(), fastest) << c.name;
  }
}

TEST(CipherVariants, EachCanBeAskedFor) {
  for (const std::string_view variant : usable_cipher_variants()) {
    for (const Case& c : kWithKernels) {
      const auto made =
          make_sector_cipher(*parse_cipher_spec(c.name), key_of(c.key_bytes), variant);
      ASSERT_TRUE(made.ok()) << made.error().message();
      EXPECT_EQ((*made)->variant(), variant) << c.name;
    }
  }
}

TEST(CipherVariants, OneCanBeForced) {
  const auto fastest = usable_cipher_variants().front();
  for (const std::string_view variant : usable_cipher_variants()) {
    ASSERT_TRUE(force_cipher_variant(variant).ok());
    EXPECT_EQ(*cipher_variant(), variant);
    const auto made = make_sector_cipher(*parse_cipher_spec("aes-cbc-elephant"), key_of(32));
    EXPECT_EQ((*made)->variant(), variant);
    // No kernel has this one.
    const auto other = make_sector_cipher(*parse_cipher_spec("camellia-cbc-plain64"), key_of(32));
    EXPECT_EQ((*other)->variant(), "openssl");
  }
  ASSERT_TRUE(force_cipher_variant(fastest).ok());
}

TEST(CipherVariants, WhatCannotRunIsRefusedAndWhatCanIsNamed) {
  for (const char* name : {"sse", "", "AVX2", "avx512\n"}) {
    const auto forced = force_cipher_variant(name);
    ASSERT_FALSE(forced.ok()) << name;
    EXPECT_EQ(forced.error().code(), ErrorCode::kUsage);
    EXPECT_THAT(forced.error().message(), HasSubstr("is not a cipher variant"));
    for (const std::string_view usable : usable_cipher_variants()) {
      EXPECT_THAT(forced.error().hint(), HasSubstr(std::string(usable)));
    }
    EXPECT_EQ(forced.error().message().find('\n'), std::string::npos);
    EXPECT_FALSE(make_sector_cipher(*parse_cipher_spec("aes-xts-plain64"), key_of(64), name).ok());
  }
  const auto usable = usable_cipher_variants();
  for (const std::string_view known : {"avx512", "avx2", "aesni"}) {
    if (std::count(usable.begin(), usable.end(), known) != 0) continue;
    EXPECT_THAT(force_cipher_variant(known).error().message(),
                HasSubstr("cannot run on this processor"));
  }
}

TEST(CipherVariants, AskedForByNameACipherWithoutKernelIsRefused) {
  for (const std::string_view variant : usable_cipher_variants()) {
    const auto made =
        make_sector_cipher(*parse_cipher_spec("camellia-cbc-plain64"), key_of(32), variant);
    if (variant == "openssl") {
      EXPECT_TRUE(made.ok());
      continue;
    }
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code(), ErrorCode::kNotSupported);
    EXPECT_THAT(made.error().message(), HasSubstr("has no kernel"));
  }
}

// The same refusals as OpenSSL's, whatever the variant.
TEST(CipherVariants, KeysAndSectorsThatDoNotFitAreRefused) {
  const auto refused = [](const char* name, std::size_t key_bytes, std::uint32_t sector_bytes) {
    auto spec = parse_cipher_spec(name);
    spec->sector_bytes = sector_bytes;
    return !make_sector_cipher(*spec, key_of(key_bytes)).ok();
  };
  EXPECT_TRUE(refused("aes-cbc-plain64", 17, 512));
  EXPECT_TRUE(refused("aes-cbc-plain64", 64, 512));
  EXPECT_TRUE(refused("aes-cbc-essiv:sha512", 32, 512));
  EXPECT_TRUE(refused("aes-cbc-essiv:sha1", 16, 512));
  EXPECT_TRUE(refused("aes-cbc-essiv:none", 16, 512));
  EXPECT_TRUE(refused("aes-cbc-essiv", 16, 512));
  EXPECT_TRUE(refused("aes-cbc-elephant", 48, 512));
  EXPECT_TRUE(refused("aes-cbc-eboiv", 32, 768));
  EXPECT_TRUE(refused("aes-xts-plain64", 64, 8192));
  EXPECT_TRUE(refused("aes-xts-plain64", 64, 0));
}

TEST(CipherVariants, EveryKernelSetHasItsBareRounds) {
  for (const std::string_view variant : usable_cipher_variants()) {
    for (const std::size_t key_bytes : {16U, 24U, 32U}) {
      EXPECT_EQ(run_aes_rounds(variant, key_bytes, 4096), variant != "openssl");
    }
  }
  EXPECT_FALSE(run_aes_rounds("sse", 32, 4096));
}

}  // namespace

namespace kernels {
namespace {

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
}  // namespace kernels
}  // namespace latchkey::engine
