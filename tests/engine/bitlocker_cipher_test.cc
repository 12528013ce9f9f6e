// BitLocker's two CBC ciphers against the formulas written down once more, slowly and block by
// block, and against volumes that Windows made.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "engine/ciphers/cipher_variants.h"
#include "engine/ciphers/elephant_diffuser.h"
#include "engine/sector_cipher.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::from_hex;
using test::random_bytes;

std::unique_ptr<SectorCipher> cipher(const std::string& name, const ByteVector& key,
                                     std::uint32_t sector_bytes, std::uint64_t first_tweak,
                                     std::uint32_t stride = 1, std::string_view variant = "") {
  auto spec = parse_cipher_spec(name);
  EXPECT_TRUE(spec.ok());
  spec->sector_bytes = sector_bytes;
  spec->first_tweak = first_tweak;
  spec->tweak_stride = stride;
  const SecretBytes secret = SecretBytes::copy_of(key);
  auto made = variant.empty() ? make_sector_cipher(*spec, secret)
                              : make_sector_cipher(*spec, secret, variant);
  EXPECT_TRUE(made.ok()) << made.error().message();
  return made.ok() ? std::move(*made) : nullptr;
}

// One block, AES-ECB.
ByteVector encrypt_block(const ByteVector& key, const ByteVector& block) {
  ByteVector out(16);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  const EVP_CIPHER* aes = key.size() == 16 ? EVP_aes_128_ecb() : EVP_aes_256_ecb();
  int length = 0;
  EXPECT_EQ(1, EVP_EncryptInit_ex(context, aes, nullptr,
                                  reinterpret_cast<const unsigned char*>(key.data()), nullptr));
  EXPECT_EQ(1, EVP_EncryptUpdate(context, reinterpret_cast<unsigned char*>(out.data()), &length,
                                 reinterpret_cast<const unsigned char*>(block.data()), 16));
  EXPECT_EQ(16, length);
  EVP_CIPHER_CTX_free(context);
  return out;
}

ByteVector offset_block(std::uint64_t byte_offset, unsigned last = 0) {
  ByteVector block(16);
  for (std::size_t i = 0; i < 8; ++i) {
    block[i] = static_cast<std::byte>(byte_offset >> (8 * i) & 0xff);
  }
  block[15] = static_cast<std::byte>(last);
  return block;
}

ByteVector slow_cbc(const ByteVector& key, std::uint64_t byte_offset, const ByteVector& plain) {
  ByteVector chain = encrypt_block(key, offset_block(byte_offset));
  ByteVector out;
  for (std::size_t at = 0; at < plain.size(); at += 16) {
    for (std::size_t i = 0; i < 16; ++i) chain[i] ^= plain[at + i];
    chain = encrypt_block(key, chain);
    out.insert(out.end(), chain.begin(), chain.end());
  }
  return out;
}

std::uint32_t rotated(std::uint32_t word, unsigned by) {
  return by == 0 ? word : word << by | word >> (32 - by);
}

// The paper's definition, which is of the decrypting direction.
void slow_undiffuse(std::vector<std::uint32_t>& d) {
  const std::size_t n = d.size();
  constexpr unsigned kB[] = {0, 10, 0, 25};
  for (std::size_t i = 0; i < 3 * n; ++i) {
    d[i % n] += d[(i + 2) % n] ^ rotated(d[(i + 5) % n], kB[i % 4]);
  }
  constexpr unsigned kA[] = {9, 0, 13, 0};
  for (std::size_t i = 0; i < 5 * n; ++i) {
    d[i % n] += d[(i + n - 2) % n] ^ rotated(d[(i + n - 5) % n], kA[i % 4]);
  }
}

// From between diffuser and CBC back to the plaintext.
ByteVector slow_elephant_plaintext(const ByteVector& key, std::uint64_t byte_offset,
                                   const ByteVector& diffused) {
  const ByteVector tweak_key(key.begin() + static_cast<std::ptrdiff_t>(key.size() / 2), key.end());
  ByteVector sector_key = encrypt_block(tweak_key, offset_block(byte_offset));
  const ByteVector second = encrypt_block(tweak_key, offset_block(byte_offset, 0x80));
  sector_key.insert(sector_key.end(), second.begin(), second.end());
  std::vector<std::uint32_t> words(diffused.size() / 4);
  std::memcpy(words.data(), diffused.data(), diffused.size());
  slow_undiffuse(words);
  ByteVector plain(diffused.size());
  std::memcpy(plain.data(), words.data(), plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] ^= sector_key[i % 32];
  return plain;
}

constexpr std::uint64_t kTweaks[] = {0, 1, 77, (1ULL << 32) + 5, 1ULL << 43};

TEST(BitlockerCipher, EboivIsCbcUnderTheEncryptedByteOffset) {
  const std::uint64_t seed = test::test_seed();
  for (const std::size_t key_bytes : {16U, 32U}) {
    const ByteVector key = random_bytes(key_bytes, seed);
    for (const std::uint32_t sector_bytes : {512U, 1024U, 2048U, 4096U}) {
      const ByteVector plain = random_bytes(sector_bytes, seed + 1);
      for (const std::uint64_t tweak : kTweaks) {
        const ByteVector expected = slow_cbc(key, tweak * sector_bytes, plain);
        for (const std::string_view variant : usable_cipher_variants()) {
          const auto fast = cipher("aes-cbc-eboiv", key, sector_bytes, tweak, 1, variant);
          ByteVector out(sector_bytes);
          fast->encrypt(0, plain, out);
          EXPECT_EQ(out, expected) << variant << " " << sector_bytes << " " << tweak;
          fast->decrypt(0, out, out);
          EXPECT_EQ(out, plain);
        }
      }
    }
  }
}

TEST(BitlockerCipher, ElephantIsSectorKeyDiffuserAndCbc) {
  const std::uint64_t seed = test::test_seed();
  for (const std::size_t key_bytes : {32U, 64U}) {
    const ByteVector key = random_bytes(key_bytes, seed);
    const ByteVector cbc_key(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(key_bytes / 2));
    for (const std::uint32_t sector_bytes : {512U, 1024U, 2048U, 4096U}) {
      // Any bytes are some diffused sector: start in the middle and go both ways.
      const ByteVector diffused = random_bytes(sector_bytes, seed + 1);
      for (const std::uint64_t tweak : kTweaks) {
        const std::uint64_t offset = tweak * sector_bytes;
        const ByteVector plain = slow_elephant_plaintext(key, offset, diffused);
        const ByteVector ciphertext = slow_cbc(cbc_key, offset, diffused);
        for (const std::string_view variant : usable_cipher_variants()) {
          const auto fast = cipher("aes-cbc-elephant", key, sector_bytes, tweak, 1, variant);
          ByteVector out(sector_bytes);
          fast->encrypt(0, plain, out);
          EXPECT_EQ(out, ciphertext) << variant << " " << sector_bytes << " " << tweak;
          fast->decrypt(0, ciphertext, out);
          EXPECT_EQ(out, plain) << variant << " " << sector_bytes << " " << tweak;
        }
      }
    }
  }
}

TEST(BitlockerCipher, DiffusersUndoEachOtherAtEverySize) {
  const ByteVector bytes = random_bytes(4096, test::test_seed());
  for (std::size_t count = 8; count <= 1024; count += 4) {
    std::vector<std::uint32_t> words(count);
    std::memcpy(words.data(), bytes.data(), count * 4);
    const std::vector<std::uint32_t> before = words;
    std::vector<std::uint32_t> slow = words;
    elephant_undiffuse(words);
    slow_undiffuse(slow);
    ASSERT_EQ(words, slow) << count;
    elephant_diffuse(words);
    ASSERT_EQ(words, before) << count;
  }
}

// Every bit of a sector depends on every other: that is what the diffuser is for.
TEST(BitlockerCipher, OneChangedBitChangesTheWholeSector) {
  const auto c = cipher("aes-cbc-elephant", random_bytes(32, test::test_seed()), 512, 9);
  ByteVector a(512);
  ByteVector b(512);
  b[500] = std::byte{1};
  c->decrypt(0, a, a);
  c->decrypt(0, b, b);
  for (std::size_t at = 0; at < 512; at += 16) {
    EXPECT_NE(0, std::memcmp(&a[at], &b[at], 16)) << at;
  }
}

// More sectors than the tweaks that are made at a time, from an odd place, with a stride.
TEST(BitlockerCipher, LongCallsStepTheirTweaks) {
  const std::uint64_t seed = test::test_seed();
  for (const char* name : {"aes-cbc-eboiv", "aes-cbc-elephant"}) {
    const ByteVector key = random_bytes(32, seed);
    const auto c = cipher(name, key, 512, 1000, 8);
    const std::size_t sectors = 77;
    const ByteVector plain = random_bytes(sectors * 512, seed + 1);
    ByteVector together(plain.size());
    c->encrypt(5, plain, together);
    for (std::size_t i = 0; i < sectors; ++i) {
      const auto single = cipher(name, key, 512, 1000 + (5 + i) * 8);
      ByteVector one(512);
      single->encrypt(0, Bytes(plain).subspan(i * 512, 512), one);
      ASSERT_EQ(0, std::memcmp(one.data(), &together[i * 512], 512)) << name << " " << i;
    }
    c->decrypt(5, together, together);
    EXPECT_EQ(together, plain);
  }
}

TEST(BitlockerCipher, ElephantTakesTwoKeysOfOneSize) {
  auto spec = parse_cipher_spec("aes-cbc-elephant");
  for (const std::size_t size : {0U, 16U, 24U, 31U, 48U, 65U, 128U}) {
    const auto made = make_sector_cipher(*spec, SecretBytes::copy_of(random_bytes(size, 4)));
    ASSERT_FALSE(made.ok()) << size;
    EXPECT_EQ(made.error().code(), ErrorCode::kNotSupported);
  }
}

struct RealVolume {
  const char* file;
  const char* cipher;
  std::uint32_t sector_bytes;
  const char* key;                // out of its metadata
  std::uint64_t relocated_start;  // where its boot sector lies
};

class RealVolumes : public ::testing::TestWithParam<RealVolume> {};

ByteVector read_at(std::ifstream& in, std::uint64_t offset, std::size_t size) {
  ByteVector out(size);
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
  EXPECT_TRUE(in.good());
  return out;
}

// The boot sector decrypts with the tweak of the place it was moved to, names the place of the
// master file table, and there is its first record; what comes out goes back in bit by bit.
void check_volume(const RealVolume& volume, std::ifstream& image, const SectorCipher& c) {
  const std::size_t size = std::size_t{4} * 4096;
  const ByteVector moved = read_at(image, volume.relocated_start, size / 2);
  ByteVector boot(moved.size());
  c.decrypt(volume.relocated_start / volume.sector_bytes, moved, boot);
  EXPECT_TRUE(starts_with(boot, 3, "NTFS    "));
  EXPECT_EQ(0xaa55, load_le<std::uint16_t>(boot, 510));
  const std::uint64_t cluster_bytes =
      std::uint64_t{load_le<std::uint16_t>(boot, 11)} * std::to_integer<unsigned>(boot[13]);
  const std::uint64_t table = load_le<std::uint64_t>(boot, 48) * cluster_bytes;
  const ByteVector ciphertext = read_at(image, table, size);
  ByteVector records(size);
  c.decrypt(table / volume.sector_bytes, ciphertext, records);
  EXPECT_TRUE(starts_with(records, 0, "FILE"));
  ByteVector again(size);
  c.encrypt(table / volume.sector_bytes, records, again);
  EXPECT_EQ(again, ciphertext);
  c.encrypt(volume.relocated_start / volume.sector_bytes, boot, boot);
  EXPECT_EQ(boot, moved);
}

TEST_P(RealVolumes, DecryptAndEncryptAsWindowsDid) {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  const RealVolume& volume = GetParam();
  const auto path = std::filesystem::path(folder != nullptr ? folder : "") / volume.file;
  if (folder == nullptr || !std::filesystem::exists(path)) {
    GTEST_SKIP() << "LATCHKEY_CORPUS does not name a folder with " << volume.file;
  }
  for (const std::string_view variant : usable_cipher_variants()) {
    SCOPED_TRACE(variant);
    std::ifstream image(path, std::ios::binary);
    check_volume(volume, image,
                 *cipher(volume.cipher, from_hex(volume.key), volume.sector_bytes, 0, 1, variant));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, RealVolumes,
    ::testing::Values(RealVolume{"bitlocker/aes-cbc-128.img", "aes-cbc-eboiv", 512,
                                 "6c96f82a942e875f029c3dd9e4351773", 0x21a5000},
                      RealVolume{"bitlocker/aes-cbc-128-4k.img", "aes-cbc-eboiv", 4096,
                                 "7aaffb2121b4149688358f5cf21bca2d", 0x21a5000},
                      RealVolume{"bitlocker/aes-cbc-elephant-128.img", "aes-cbc-elephant", 512,
                                 "9d2733e172dc85e13e3de5aaa0e0501bfd22a3f27966c51c94c8e3adce517b6e",
                                 0x2a2d000}),
    [](const auto& test_case) {
      std::string name = std::string(test_case.param.cipher).substr(8);
      return name + "_" + std::to_string(test_case.param.sector_bytes);
    });

}  // namespace
}  // namespace latchkey::engine
