// LUKS1 headers from arbitrary bytes: found out about, and laid out with a made-up key. No key
// derivation runs, so the time goes into parsing.
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/memory_device.h"
#include "keyslots/luks/luks1.h"
#include "keyslots/luks/luks_check.h"

using namespace latchkey;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  if (size >= keyslots::kLuks1HeaderBytes) {
    engine::Notices mended;
    (void)keyslots::mended_luks1_header({begin, keyslots::kLuks1HeaderBytes}, mended);
  }
  // The input, and enough behind it for a payload to begin in.
  std::vector<std::byte> bytes(begin, begin + size);
  bytes.resize(size + 128 * 1024);
  const keyslots::VolumeSource source{std::make_shared<engine::MemoryDevice>(std::move(bytes)),
                                      nullptr};
  engine::Notices notices;
  auto header = keyslots::open_luks1(source, notices);
  if (!header || *header == nullptr) return 0;
  if (!(*header)->facts().unusable.empty()) return 0;
  std::vector<engine::SecretBytes> keys;
  keys.emplace_back((*header)->facts().key_bits / 8);
  for (std::size_t i = 0; i < keys[0].size(); ++i) keys[0].span()[i] = static_cast<std::byte>(i);
  auto volume = (*header)->layout(std::move(keys));
  if (!volume) return 0;
  auto plain = keyslots::plaintext_of(source, std::move(*volume), true);
  std::vector<std::byte> piece(4096);
  if (plain && (*plain)->size_bytes() >= piece.size() && !(*plain)->read(0, piece).ok())
    __builtin_trap();
  return 0;
}
