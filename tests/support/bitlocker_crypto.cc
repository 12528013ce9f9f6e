#include "tests/support/bitlocker_crypto.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <openssl/evp.h>

namespace latchkey::test {
namespace {

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeDigest>;

void must(bool done) {
  if (!done) std::abort();
}

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

using Block = std::array<std::byte, 16>;

Block number_block(std::uint64_t number) {
  Block block{};
  for (std::size_t i = 0; i < 8; ++i) block[i] = static_cast<std::byte>((number >> (8 * i)) & 0xff);
  return block;
}

void encrypt(const EVP_CIPHER* cipher, const std::byte* key, const Block* iv, const std::byte* from,
             std::byte* into, std::size_t bytes) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  must(EVP_EncryptInit_ex(context.get(), cipher, nullptr, raw(key),
                          iv != nullptr ? raw(iv->data()) : nullptr) == 1);
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  int done = 0;
  must(EVP_EncryptUpdate(context.get(), raw(into), &done, raw(from), static_cast<int>(bytes)) == 1);
  must(static_cast<std::size_t>(done) == bytes);
}

Block encrypt_block(bool wide, const std::byte* key, const Block& block) {
  Block out;
  encrypt(wide ? EVP_aes_256_ecb() : EVP_aes_128_ecb(), key, nullptr, block.data(), out.data(), 16);
  return out;
}

std::uint32_t rotate_left(std::uint32_t value, unsigned by) {
  return by == 0 ? value : (value << by) | (value >> (32 - by));
}

// The direction of writing of a diffuser: the words from last to first, each made smaller by a
// mixture of two others. `step` is where those lie: behind for A, ahead for B.
void diffuse(std::vector<std::uint32_t>& words, unsigned cycles, bool ahead,
             const std::array<unsigned, 4>& rotations) {
  const std::size_t count = words.size();
  for (unsigned cycle = 0; cycle < cycles; ++cycle) {
    for (std::size_t i = count; i-- > 0;) {
      const std::size_t near = ahead ? (i + 2) % count : (i + count - 2) % count;
      const std::size_t far = ahead ? (i + 5) % count : (i + count - 5) % count;
      words[i] -= words[near] ^ rotate_left(words[far], rotations[i % 4]);
    }
  }
}

// Ferguson, "AES-CBC + Elephant diffuser", 2006: sector key, A, B; CBC comes after.
void elephant(bool wide, const std::byte* tweak_key, std::uint64_t offset, std::byte* sector,
              std::uint32_t sector_bytes) {
  Block block = number_block(offset);
  const Block first = encrypt_block(wide, tweak_key, block);
  block[15] = std::byte{0x80};
  const Block second = encrypt_block(wide, tweak_key, block);
  for (std::size_t i = 0; i < sector_bytes; ++i) {
    sector[i] ^= i % 32 < 16 ? first[i % 16] : second[i % 16];
  }
  std::vector<std::uint32_t> words(sector_bytes / 4);
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (unsigned b = 0; b < 4; ++b) {
      words[i] |= std::to_integer<std::uint32_t>(sector[4 * i + b]) << (8 * b);
    }
  }
  diffuse(words, 5, false, {9, 0, 13, 0});
  diffuse(words, 3, true, {0, 10, 0, 25});
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (unsigned b = 0; b < 4; ++b) {
      sector[4 * i + b] = static_cast<std::byte>((words[i] >> (8 * b)) & 0xff);
    }
  }
}

void encrypt_cbc(bool wide, const std::byte* key, std::uint64_t offset, std::byte* sector,
                 std::uint32_t sector_bytes) {
  const Block iv = encrypt_block(wide, key, number_block(offset));
  encrypt(wide ? EVP_aes_256_cbc() : EVP_aes_128_cbc(), key, &iv, sector, sector, sector_bytes);
}

}  // namespace

ByteVector fve_sha256(const ByteVector& bytes) {
  ByteVector out(32);
  must(EVP_Digest(bytes.data(), bytes.size(), raw(out.data()), nullptr, EVP_sha256(), nullptr) ==
       1);
  return out;
}

ByteVector fve_stretch(const ByteVector& hash, const ByteVector& salt) {
  must(hash.size() == 32 && salt.size() == 16);
  std::array<std::byte, 88> block{};
  std::memcpy(block.data() + 32, hash.data(), 32);
  std::memcpy(block.data() + 64, salt.data(), 16);
  EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  const DigestContext context(EVP_MD_CTX_new());
  for (std::uint64_t round = 0; round < 0x100000; ++round) {
    const Block count = number_block(round);
    std::memcpy(block.data() + 80, count.data(), 8);
    must(EVP_DigestInit_ex2(context.get(), sha256, nullptr) == 1);
    must(EVP_DigestUpdate(context.get(), block.data(), block.size()) == 1);
    must(EVP_DigestFinal_ex(context.get(), raw(block.data()), nullptr) == 1);
  }
  EVP_MD_free(sha256);
  return {block.begin(), block.begin() + 32};
}

ByteVector fve_ccm(const ByteVector& key, const ByteVector& nonce, const ByteVector& plain) {
  must(key.size() == 32 && nonce.size() == 12);
  const CipherContext context(EVP_CIPHER_CTX_new());
  ByteVector out(16 + plain.size());
  int done = 0;
  must(EVP_EncryptInit_ex(context.get(), EVP_aes_256_ccm(), nullptr, nullptr, nullptr) == 1);
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, 12, nullptr) == 1);
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, 16, nullptr) == 1);
  must(EVP_EncryptInit_ex(context.get(), nullptr, nullptr, raw(key.data()), raw(nonce.data())) ==
       1);
  must(EVP_EncryptUpdate(context.get(), nullptr, &done, nullptr, static_cast<int>(plain.size())) ==
       1);
  must(EVP_EncryptUpdate(context.get(), raw(out.data() + 16), &done, raw(plain.data()),
                         static_cast<int>(plain.size())) == 1);
  must(EVP_EncryptFinal_ex(context.get(), raw(out.data() + 16) + done, &done) == 1);
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, out.data()) == 1);
  return out;
}

void fve_encrypt_sector(FveMethod method, const ByteVector& fvek, std::uint64_t offset,
                        std::byte* sector, std::uint32_t sector_bytes) {
  switch (method) {
    case FveMethod::kElephant128:
    case FveMethod::kElephant256: {
      const bool wide = method == FveMethod::kElephant256;
      elephant(wide, fvek.data() + 32, offset, sector, sector_bytes);
      encrypt_cbc(wide, fvek.data(), offset, sector, sector_bytes);
      return;
    }
    case FveMethod::kCbc128:
    case FveMethod::kCbc256:
      encrypt_cbc(method == FveMethod::kCbc256, fvek.data(), offset, sector, sector_bytes);
      return;
    case FveMethod::kXts128:
    case FveMethod::kXts256: {
      const Block tweak = number_block(offset / sector_bytes);
      encrypt(method == FveMethod::kXts256 ? EVP_aes_256_xts() : EVP_aes_128_xts(), fvek.data(),
              &tweak, sector, sector, sector_bytes);
      return;
    }
    case FveMethod::kNone:
      return;
  }
  std::abort();
}

}  // namespace latchkey::test
