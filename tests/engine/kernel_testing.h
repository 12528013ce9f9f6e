// What the tests of the cipher kernels share: every kernel set that can run here as a parameter,
// OpenSSL as the reference, buffers at odd places, and pages that nobody may touch.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/ciphers/cpu_features.h"
#include "engine/ciphers/kernel_cipher.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine::kernels {

using test::ByteVector;

class EveryKernelSet : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  // Any sector size that is a multiple of 16, unlike make_sector_cipher().
  static std::unique_ptr<SectorCipher> cipher(const std::string& name, const ByteVector& key,
                                              std::uint32_t sector_bytes,
                                              std::uint64_t first_tweak = 0,
                                              std::uint32_t stride = 1) {
    auto spec = parse_cipher_spec(name);
    EXPECT_TRUE(spec.ok());
    spec->sector_bytes = sector_bytes;
    spec->first_tweak = first_tweak;
    spec->tweak_stride = stride;
    EXPECT_TRUE(has_kernel(*spec, key.size())) << name;
    auto made = make_kernel_cipher(*spec, SecretBytes::copy_of(key), *GetParam());
    EXPECT_TRUE(made.ok()) << made.error().message();
    return made.ok() ? std::move(*made) : nullptr;
  }
};

inline std::string kernel_set_name(const ::testing::TestParamInfo<const KernelSet*>& info) {
  return info.param->name;
}

// name: as EVP_get_cipherbyname takes it, "AES-128-CBC". No padding.
inline ByteVector openssl_encrypt(const std::string& name, const ByteVector& key,
                                  const ByteVector& iv, Bytes plain) {
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(EVP_CIPHER_CTX_new(),
                                                                           EVP_CIPHER_CTX_free);
  const auto uchar = [](const std::byte* p) { return reinterpret_cast<const unsigned char*>(p); };
  ByteVector out(plain.size());
  int produced = 0;
  EXPECT_EQ(1, EVP_EncryptInit_ex(context.get(), EVP_get_cipherbyname(name.c_str()), nullptr,
                                  uchar(key.data()), iv.empty() ? nullptr : uchar(iv.data())));
  EXPECT_EQ(1, EVP_CIPHER_CTX_set_padding(context.get(), 0));
  EXPECT_EQ(1, EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(out.data()),
                                 &produced, uchar(plain.data()), static_cast<int>(plain.size())));
  EXPECT_EQ(plain.size(), static_cast<std::size_t>(produced));
  return out;
}

// `number` in 16 bytes.
inline ByteVector little_endian_block(std::uint64_t number) {
  ByteVector block(16);
  store_le(MutableBytes(block), 0, number);
  return block;
}

// A buffer at some distance from any alignment, between bytes that have to stay as they are.
class PlacedBytes {
 public:
  PlacedBytes(std::size_t size, std::size_t shift)
      : shift_(shift), bytes_(size + 2 * kMargin, kCanary) {}
  MutableBytes span() { return MutableBytes(bytes_).subspan(shift_, bytes_.size() - 2 * kMargin); }
  bool surroundings_untouched() const {
    const std::size_t end = shift_ + bytes_.size() - 2 * kMargin;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      if ((i < shift_ || i >= end) && bytes_[i] != kCanary) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kMargin = 128;
  static constexpr std::byte kCanary{0xa5};
  std::size_t shift_;  // below kMargin
  ByteVector bytes_;
};

// Both directions, from one buffer to another and in place, wherever `random` puts them.
inline void expect_transform(const SectorCipher& cipher, const ByteVector& plain,
                             const ByteVector& ciphertext, std::mt19937_64& random) {
  const auto is = [](Bytes bytes, const ByteVector& wanted) {
    return std::equal(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
  };
  for (const bool encrypt : {true, false}) {
    const ByteVector& given = encrypt ? plain : ciphertext;
    const ByteVector& wanted = encrypt ? ciphertext : plain;
    PlacedBytes from(given.size(), random() % 128);
    PlacedBytes into(given.size(), random() % 128);
    std::copy(given.begin(), given.end(), from.span().begin());
    const auto run = [&](Bytes in, MutableBytes out) {
      if (encrypt) return cipher.encrypt(0, in, out);
      cipher.decrypt(0, in, out);
    };
    run(from.span(), into.span());
    ASSERT_TRUE(is(into.span(), wanted)) << "from one buffer to another, encrypting: " << encrypt;
    ASSERT_TRUE(is(from.span(), given)) << "the source was changed";
    run(from.span(), from.span());
    ASSERT_TRUE(is(from.span(), wanted)) << "in place, encrypting: " << encrypt;
    ASSERT_TRUE(from.surroundings_untouched() && into.surroundings_untouched());
  }
}

// Pages that may be used between two that may not.
class GuardedPages {
 public:
  explicit GuardedPages(std::size_t usable)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
        usable_((usable + page_ - 1) / page_ * page_) {
    void* mapped =
        mmap(nullptr, usable_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(MAP_FAILED, mapped);
    base_ = static_cast<std::byte*>(mapped);
    EXPECT_EQ(0, mprotect(base_ + page_, usable_, PROT_READ | PROT_WRITE));
  }
  ~GuardedPages() { munmap(base_, usable_ + 2 * page_); }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  MutableBytes first(std::size_t bytes) { return {base_ + page_, bytes}; }
  MutableBytes last(std::size_t bytes) { return {base_ + page_ + usable_ - bytes, bytes}; }

 private:
  const std::size_t page_;
  const std::size_t usable_;
  std::byte* base_;
};

// Every combination of touching the page before and the page after; a fault ends the test program.
inline void expect_nothing_else_touched(const SectorCipher& cipher, std::size_t bytes) {
  GuardedPages from(bytes);
  GuardedPages into(bytes);
  cipher.encrypt(0, from.first(bytes), into.first(bytes));
  cipher.encrypt(0, from.last(bytes), into.last(bytes));
  cipher.encrypt(0, from.last(bytes), into.first(bytes));
  cipher.decrypt(0, from.first(bytes), into.first(bytes));
  cipher.decrypt(0, from.last(bytes), into.last(bytes));
  cipher.decrypt(0, from.first(bytes), into.last(bytes));
}

}  // namespace latchkey::engine::kernels
