#include "engine/secret_bytes.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/bytes.h"

namespace latchkey::engine {
namespace {

std::atomic<bool> lock_refused{false};

}  // namespace

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  mapped_ = round_up(size, page);
  if (mapped_ < size) throw std::bad_alloc();
  void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(memory);
  madvise(memory, mapped_, MADV_DONTDUMP);
  if (mlock(memory, mapped_) != 0) lock_refused.store(true, std::memory_order_relaxed);
}

SecretBytes SecretBytes::copy_of(std::span<const std::byte> bytes) {
  SecretBytes copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.data_);
  return copy;
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapped_ = std::exchange(other.mapped_, 0);
  }
  return *this;
}

SecretBytes::~SecretBytes() {
  release();
}

void SecretBytes::release() noexcept {
  if (data_ == nullptr) return;
  wipe({data_, mapped_});
  munmap(data_, mapped_);  // unlocks too
  data_ = nullptr;
  size_ = mapped_ = 0;
}

void SecretBytes::truncate(std::size_t size) noexcept {
  if (size >= size_) return;
  wipe(span().subspan(size));
  size_ = size;
}

bool SecretBytes::equals(std::span<const std::byte> other) const noexcept {
  return size_ == other.size() && (size_ == 0 || CRYPTO_memcmp(data_, other.data(), size_) == 0);
}

bool SecretBytes::memory_lock_refused() noexcept {
  return lock_refused.load(std::memory_order_relaxed);
}

void wipe(std::span<std::byte> bytes) noexcept {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

}  // namespace latchkey::engine
