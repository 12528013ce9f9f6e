#include "engine/ciphers/elephant_cipher.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "engine/ciphers/cipher_variants.h"
#include "engine/ciphers/elephant_diffuser.h"
#include "engine/ciphers/openssl_cipher.h"
#include "engine/ciphers/openssl_contexts.h"
#include "engine/ciphers/unsupported_cipher.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kMostSectorBytes = 4096;
constexpr std::size_t kSectorKeyBytes = 2 * kCipherBlockBytes;
constexpr std::size_t kSectorKeyWords = kSectorKeyBytes / sizeof(std::uint32_t);
// So many sectors go through one half of the cipher before the other: few calls into the library,
// and the bytes are still in the nearest cache.
constexpr std::size_t kBatchBytes = std::size_t{16} * 1024;
constexpr std::size_t kMostBatchSectors = kBatchBytes / 512;

class ElephantCipher final : public SectorCipher {
 public:
  ElephantCipher(const CipherSpec& spec, std::unique_ptr<SectorCipher> cbc)
      : sector_bytes_(spec.sector_bytes),
        first_tweak_(spec.first_tweak),
        tweak_stride_(spec.tweak_stride),
        cbc_(std::move(cbc)) {}

  bool set_up(const EVP_CIPHER* cipher, Bytes tweak_key) {
    return sector_keys_.set_up(cipher, tweak_key, Direction::kEncrypt);
  }

  std::uint32_t sector_bytes() const noexcept override { return sector_bytes_; }
  std::string_view variant() const noexcept override { return kOpensslVariant; }

  void encrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    for_batches(first_sector, from, into, [this](auto sector, Bytes keys, Bytes in, auto out) {
      for (std::size_t i = 0; i * sector_bytes_ < in.size(); ++i) {
        diffuse(keys.subspan(i * kSectorKeyBytes, kSectorKeyBytes),
                in.subspan(i * sector_bytes_, sector_bytes_),
                out.subspan(i * sector_bytes_, sector_bytes_));
      }
      cbc_->encrypt(sector, out, out);
    });
  }

  void decrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    for_batches(first_sector, from, into, [this](auto sector, Bytes keys, Bytes in, auto out) {
      cbc_->decrypt(sector, in, out);
      for (std::size_t i = 0; i * sector_bytes_ < out.size(); ++i) {
        undiffuse(keys.subspan(i * kSectorKeyBytes, kSectorKeyBytes),
                  out.subspan(i * sector_bytes_, sector_bytes_));
      }
    });
  }

 private:
  using Words = std::array<std::uint32_t, kMostSectorBytes / sizeof(std::uint32_t)>;
  using SectorKeys = std::array<std::byte, kMostBatchSectors * kSectorKeyBytes>;

  // work(first sector, the batch's sector keys, from, into)
  template <class Work>
  void for_batches(std::uint64_t sector, Bytes from, MutableBytes into,
                   const Work& work) const noexcept {
    assert(from.size() == into.size() && from.size() % sector_bytes_ == 0);
    const ContextLease lease(sector_keys_);
    SectorKeys keys;
    while (!from.empty()) {
      const std::size_t bytes = std::min(from.size(), kBatchBytes);
      const std::size_t sectors = bytes / sector_bytes_;
      const auto used = MutableBytes(keys).first(sectors * kSectorKeyBytes);
      fill(used, sector);
      lease.run(used, used);
      work(sector, Bytes(used), from.first(bytes), into.first(bytes));
      sector += sectors;
      from = from.subspan(bytes);
      into = into.subspan(bytes);
    }
  }

  // What the tweak key makes the sector keys of: the byte offset twice, the second time with the
  // topmost bit of the block set.
  void fill(MutableBytes keys, std::uint64_t sector) const noexcept {
    std::fill(keys.begin(), keys.end(), std::byte{0});
    std::uint64_t tweak = first_tweak_ + sector * tweak_stride_;
    for (std::size_t at = 0; at < keys.size(); at += kSectorKeyBytes, tweak += tweak_stride_) {
      store_le(keys, at, tweak * sector_bytes_);
      store_le(keys, at + kCipherBlockBytes, tweak * sector_bytes_);
      keys[at + kSectorKeyBytes - 1] = std::byte{0x80};
    }
  }

  void diffuse(Bytes sector_key, Bytes from, MutableBytes into) const noexcept {
    Words words;
    const auto used = std::span(words).first(from.size() / sizeof(std::uint32_t));
    const KeyWords key = key_words(sector_key);
    for (std::size_t i = 0; i < used.size(); ++i) {
      used[i] = load_le<std::uint32_t>(from, i * sizeof(std::uint32_t)) ^ key[i % kSectorKeyWords];
    }
    elephant_diffuse(used);
    for (std::size_t i = 0; i < used.size(); ++i) {
      store_le(into, i * sizeof(std::uint32_t), used[i]);
    }
  }

  void undiffuse(Bytes sector_key, MutableBytes sector) const noexcept {
    Words words;
    const auto used = std::span(words).first(sector.size() / sizeof(std::uint32_t));
    const KeyWords key = key_words(sector_key);
    for (std::size_t i = 0; i < used.size(); ++i) {
      used[i] = load_le<std::uint32_t>(sector, i * sizeof(std::uint32_t));
    }
    elephant_undiffuse(used);
    for (std::size_t i = 0; i < used.size(); ++i) {
      store_le(sector, i * sizeof(std::uint32_t), used[i] ^ key[i % kSectorKeyWords]);
    }
  }

  using KeyWords = std::array<std::uint32_t, kSectorKeyWords>;
  static KeyWords key_words(Bytes sector_key) noexcept {
    KeyWords words{};
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = load_le<std::uint32_t>(sector_key, i * sizeof(std::uint32_t));
    }
    return words;
  }

  const std::uint32_t sector_bytes_;
  const std::uint64_t first_tweak_;
  const std::uint32_t tweak_stride_;
  const std::unique_ptr<SectorCipher> cbc_;
  ContextPool sector_keys_;
};

}  // namespace

Result<std::unique_ptr<SectorCipher>> make_elephant_cipher(const CipherSpec& spec,
                                                           const SecretBytes& key) {
  if (key.size() != 32 && key.size() != 64) {
    return unsupported_cipher(
        spec, fmt::format("its two keys have 256 or 512 bits together, not {}", key.size() * 8));
  }
  const std::size_t half = key.size() / 2;
  CipherSpec cbc_spec = spec;
  cbc_spec.iv = "eboiv";
  auto cbc = make_openssl_cipher(cbc_spec, SecretBytes::copy_of(key.span().first(half)));
  if (!cbc) return std::move(cbc).error();
  const CipherPtr ecb = fetch_cipher(spec.algorithm, half, "ecb");
  auto made = std::make_unique<ElephantCipher>(spec, std::move(*cbc));
  if (!ecb || !made->set_up(ecb.get(), key.span().subspan(half))) {
    return unsupported_cipher(spec, "the library does not accept this key");
  }
  return std::unique_ptr<SectorCipher>(std::move(made));
}

}  // namespace latchkey::engine
