// OpenSSL cipher contexts for many threads. Internal to the engine.
//
// An EVP context cannot be shared by threads, setting one up costs an allocation and a key
// schedule, and a context per thread would outlive the key. So each cipher owns small fixed pools
// of contexts, set up once; a call takes whichever is free and spins only when all are busy.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include <openssl/evp.h>

#include "engine/bytes.h"

namespace latchkey::engine {

inline constexpr std::size_t kCipherBlockBytes = 16;

struct OpensslDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
  void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
};
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslDeleter>;

// "AES-128-CBC" for ("aes", 16, "cbc"); null where there is no such cipher.
CipherPtr fetch_cipher(const std::string& algorithm, std::size_t key_bytes,
                       const std::string& mode);

enum class Direction { kDecrypt = 0, kEncrypt = 1 };

// Contexts of one cipher, key and direction.
class ContextPool {
 public:
  bool set_up(const EVP_CIPHER* cipher, Bytes key, Direction direction);

 private:
  friend class ContextLease;
  static constexpr std::size_t kContexts = 16;
  struct Slot {
    std::unique_ptr<EVP_CIPHER_CTX, OpensslDeleter> context;
    mutable std::atomic_flag busy;
  };
  const Slot& take() const noexcept;

  std::array<Slot, kContexts> slots_;
};

// One context of a pool, until the end of the scope. Nothing here can fail with a fixed cipher and
// whole blocks; were it to, going on would mean wrong data, so the process ends instead.
class ContextLease {
 public:
  explicit ContextLease(const ContextPool& pool) noexcept : slot_(pool.take()) {}
  ~ContextLease() { slot_.busy.clear(std::memory_order_release); }
  ContextLease(const ContextLease&) = delete;
  ContextLease& operator=(const ContextLease&) = delete;

  void start(Bytes iv) const noexcept;                     // not needed for ECB
  void run(Bytes from, MutableBytes into) const noexcept;  // same size, same memory or disjoint

 private:
  const ContextPool::Slot& slot_;
};

}  // namespace latchkey::engine
