// Hash functions by the names volume headers use (cryptsetup's spelling: "sha256", "blake2b-512").
//
// Backed by OpenSSL. Whirlpool lives in its legacy provider, which is loaded on first use into a
// library context of its own so that the process's default one stays as it was. A Digest is a cheap
// handle valid for the life of the process; a Hasher keeps one reusable context and belongs to one
// thread. Finding a digest is thread-safe.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/types.h>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kMaxDigestBytes = 64;

class Digest {
 public:
  // kNotSupported names a hash that is unknown or that this OpenSSL does not offer.
  static engine::Result<Digest> find(std::string_view name);

  const std::string& name() const noexcept;
  std::size_t size_bytes() const noexcept;
  const EVP_MD* evp() const noexcept { return evp_; }

  // PBKDF2 with HMAC of this digest (RFC 8018 section 5.2). `iterations` is at least 1.
  engine::Result<void> pbkdf2(engine::Bytes secret, engine::Bytes salt, std::uint32_t iterations,
                              engine::MutableBytes into) const;

 private:
  struct Entry;
  Digest(const Entry* entry, const EVP_MD* evp) noexcept : entry_(entry), evp_(evp) {}
  static const Entry* entry_named(std::string_view name) noexcept;

  const Entry* entry_;
  const EVP_MD* evp_;
};

struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const noexcept;
};

// One-shot hashes with a reused context.
class Hasher {
 public:
  explicit Hasher(const Digest& digest);

  std::size_t size_bytes() const noexcept { return size_bytes_; }
  // The hash of the parts joined; the first into.size() bytes of it, at most size_bytes(). False
  // where OpenSSL fails.
  [[nodiscard]] bool hash(std::initializer_list<engine::Bytes> parts,
                          engine::MutableBytes into) noexcept;

 private:
  std::unique_ptr<EVP_MD_CTX, FreeDigestContext> context_;
  const EVP_MD* evp_;
  std::size_t size_bytes_;
};

// One long hash, piece by piece.
class RunningHash {
 public:
  explicit RunningHash(const Digest& digest);

  // False where OpenSSL fails, then and ever after.
  [[nodiscard]] bool add(engine::Bytes bytes) noexcept;
  // Once, at the end: the hash in hexadecimal digits; empty where anything failed.
  std::string hex();

 private:
  std::unique_ptr<EVP_MD_CTX, FreeDigestContext> context_;
  bool good_;
};

}  // namespace latchkey::keyslots
