// Bytes that must not leak: keys, passphrases, anything derived from them.
//
// Owned by one holder (movable, not copyable, no operator<<), in pages of their own that are locked
// in memory, left out of core dumps and wiped before they are given back. Where RLIMIT_MEMLOCK
// refuses the lock the bytes are still wiped, and memory_lock_refused() turns true so that the
// command can say so once. Locked memory is not inherited by fork: fork before reading a secret.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace latchkey::engine {

class SecretBytes {
 public:
  SecretBytes() noexcept = default;
  // Zero-filled. Throws std::bad_alloc when no memory can be had.
  explicit SecretBytes(std::size_t size);
  static SecretBytes copy_of(std::span<const std::byte> bytes);

  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  std::span<std::byte> span() noexcept { return {data_, size_}; }
  std::span<const std::byte> span() const noexcept { return {data_, size_}; }

  // Forgets the bytes after the first `size`; they are wiped. No effect if already shorter.
  void truncate(std::size_t size) noexcept;

  // Constant time for equal sizes.
  bool equals(std::span<const std::byte> other) const noexcept;

  static bool memory_lock_refused() noexcept;

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;
};

// Overwrites memory in a way the compiler keeps.
void wipe(std::span<std::byte> bytes) noexcept;

}  // namespace latchkey::engine
