#include "keyslots/luks/anti_forensic.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "keyslots/digest.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;
using engine::SecretBytes;

namespace {

// Each digest-sized chunk becomes the hash of its number and itself; a short last chunk is hashed
// at its own length and the digest cut to it.
bool diffuse(Hasher& hasher, MutableBytes block) {
  std::uint32_t number = 0;
  for (std::size_t at = 0; at < block.size(); at += hasher.size_bytes(), ++number) {
    const MutableBytes chunk = block.subspan(at, std::min(hasher.size_bytes(), block.size() - at));
    std::array<std::byte, 4> prefix{};
    engine::store_be<std::uint32_t>(prefix, 0, number);
    if (!hasher.hash({prefix, chunk}, chunk)) return false;
  }
  return true;
}

void add(MutableBytes block, Bytes stripe) {
  for (std::size_t i = 0; i < block.size(); ++i) block[i] ^= stripe[i];
}

// The first `stripes` stripes, each added and then diffused.
Result<SecretBytes> accumulate(Bytes material, std::size_t key_bytes, std::uint32_t stripes,
                               std::string_view hash) {
  Result<Digest> digest = Digest::find(hash);
  if (!digest) return std::move(digest).error();
  Hasher hasher(*digest);
  SecretBytes sum(key_bytes);
  for (std::uint32_t stripe = 0; stripe < stripes; ++stripe) {
    add(sum.span(), material.subspan(stripe * key_bytes, key_bytes));
    if (!diffuse(hasher, sum.span())) {
      return Error(ErrorCode::kSystem, "hashing key material failed inside OpenSSL");
    }
  }
  return sum;
}

}  // namespace

Result<SecretBytes> anti_forensic_merge(Bytes material, std::size_t key_bytes,
                                        std::uint32_t stripes, std::string_view hash) {
  if (stripes == 0 || key_bytes == 0 || material.size() / key_bytes < stripes) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("{} bytes of key material cannot hold {} stripes of {} bytes",
                             material.size(), stripes, key_bytes));
  }
  auto key = accumulate(material, key_bytes, stripes - 1, hash);
  // The last stripe is added without being hashed.
  if (key) add(key->span(), material.subspan((stripes - 1) * key_bytes, key_bytes));
  return key;
}

Result<SecretBytes> anti_forensic_split(Bytes key, std::uint32_t stripes, std::string_view hash) {
  if (stripes == 0 || key.empty()) {
    return Error(ErrorCode::kDamaged, "a key of no bytes, or spread over no stripes");
  }
  auto material = random_secret(key.size() * stripes);
  if (!material) return material;
  const MutableBytes last = material->span().last(key.size());
  std::copy(key.begin(), key.end(), last.begin());
  // What merging will have added up when it comes to the last stripe.
  auto before = accumulate(material->span(), key.size(), stripes - 1, hash);
  if (!before) return before;
  add(last, before->span());
  return material;
}

}  // namespace latchkey::keyslots
