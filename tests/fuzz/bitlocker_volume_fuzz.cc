// BitLocker volumes from arbitrary bytes: boot sector, metadata copies and datum tree, opened with
// no secret (a clear key) and with the master key of the seeds, laid out and read. The input is a
// boot sector and one copy of the metadata, which stands at the three places the seeds name; the
// rest of the volume is zeros. No key is stretched, so the time goes into parsing.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "engine/memory_device.h"
#include "keyslots/bitlocker/bitlocker.h"
#include "keyslots/unlock.h"

using namespace latchkey;

namespace {

constexpr std::size_t kVolumeBytes = std::size_t{1} << 20;
constexpr std::size_t kBootBytes = 512;
constexpr std::size_t kCopyBytes = 65536;

// As the builder of the seeds (tests/support) makes it from its seed 1, after the volume's GUID.
engine::SecretBytes master_key() {
  std::mt19937_64 random(1);
  for (int i = 0; i < 16; ++i) (void)random();
  engine::SecretBytes key(32);
  for (std::byte& byte : key.span()) byte = static_cast<std::byte>(random() & 0xff);
  return key;
}

std::vector<std::byte> volume_of(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> volume(kVolumeBytes);
  std::copy_n(bytes, std::min(size, kBootBytes), volume.begin());
  if (size <= kBootBytes) return volume;
  for (std::size_t quarter = 1; quarter < 4; ++quarter) {
    std::copy_n(bytes + kBootBytes, std::min(size - kBootBytes, kCopyBytes),
                volume.begin() + static_cast<std::ptrdiff_t>(quarter * kVolumeBytes / 4));
  }
  return volume;
}

void read_some(engine::BlockDevice& plain) {
  std::vector<std::byte> piece(5000);
  for (const std::size_t part : {0U, 1U, 2U, 3U, 4U}) {
    const std::uint64_t offset = plain.size_bytes() / 4 * part;
    const auto length = std::min<std::uint64_t>(piece.size(), plain.size_bytes() - offset);
    if (!plain.read(offset, std::span(piece).first(length)).ok()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const keyslots::VolumeSource source{
      std::make_shared<engine::MemoryDevice>(volume_of(data, size), true), nullptr};
  engine::Notices notices;
  const auto header = keyslots::open_bitlocker(source, notices);
  if (!header || *header == nullptr) return 0;
  auto secrets = std::make_unique<keyslots::FixedSecrets>();
  secrets->add({keyslots::SecretKind::kRawKey, master_key(), "the seeds' master key"});
  keyslots::KeyRing ring;
  ring.add(std::move(secrets));
  const auto found = keyslots::find_keys(**header, ring, {});
  if (found) (void)(*header)->stored_secrets(found->keys).ok();
  auto volume = keyslots::unlock_volume(**header, ring, {});
  if (!volume) return 0;
  if (volume->map->size_bytes() > kVolumeBytes) __builtin_trap();
  const auto plain = keyslots::plaintext_of(source, std::move(*volume), true);
  if (plain) read_some(**plain);
  return 0;
}
