#include "engine/ciphers/openssl_contexts.h"

#include <cassert>
#include <cctype>
#include <exception>
#include <functional>
#include <thread>

#include <fmt/format.h>

namespace latchkey::engine {
namespace {

const unsigned char* uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

CipherPtr fetch_cipher(const std::string& algorithm, std::size_t key_bytes,
                       const std::string& mode) {
  const std::string name = fmt::format("{}-{}-{}", upper(algorithm), key_bytes * 8, upper(mode));
  return CipherPtr(EVP_CIPHER_fetch(nullptr, name.c_str(), nullptr));
}

bool ContextPool::set_up(const EVP_CIPHER* cipher, Bytes key, Direction direction) {
  for (Slot& slot : slots_) {
    slot.context.reset(EVP_CIPHER_CTX_new());
    if (!slot.context ||
        EVP_CipherInit_ex2(slot.context.get(), cipher, uchar(key.data()), nullptr,
                           static_cast<int>(direction), nullptr) != 1 ||
        EVP_CIPHER_CTX_set_padding(slot.context.get(), 0) != 1) {
      return false;
    }
  }
  return true;
}

const ContextPool::Slot& ContextPool::take() const noexcept {
  std::size_t i = std::hash<std::thread::id>()(std::this_thread::get_id()) % kContexts;
  for (unsigned tries = 1; slots_[i].busy.test_and_set(std::memory_order_acquire); ++tries) {
    i = (i + 1) % kContexts;
    if (tries % kContexts == 0) std::this_thread::yield();
  }
  return slots_[i];
}

void ContextLease::start(Bytes iv) const noexcept {
  assert(iv.size() == kCipherBlockBytes);
  if (EVP_CipherInit_ex2(slot_.context.get(), nullptr, nullptr, uchar(iv.data()), -1, nullptr) !=
      1) {
    std::terminate();
  }
}

void ContextLease::run(Bytes from, MutableBytes into) const noexcept {
  int produced = 0;
  if (EVP_CipherUpdate(slot_.context.get(), uchar(into.data()), &produced, uchar(from.data()),
                       static_cast<int>(from.size())) != 1 ||
      static_cast<std::size_t>(produced) != from.size()) {
    std::terminate();
  }
}

}  // namespace latchkey::engine
