// LUKS2 metadata from arbitrary text: a header with good checksums is put around it, then it is
// parsed, listed and, with made-up keys, laid out. No key derivation runs. What an interrupted
// re-encryption would be laid out as is asked for without the record's signature, which a fuzzer
// cannot make.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/memory_device.h"
#include "keyslots/luks/luks2.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks2_json_edit.h"
#include "keyslots/luks/luks2_reencrypt.h"
#include "tests/keyslots/luks_builder.h"

using namespace latchkey;

namespace {

void read_some(const keyslots::VolumeSource& source, keyslots::UnlockedVolume volume) {
  auto plain = keyslots::plaintext_of(source, std::move(volume), true);
  std::vector<std::byte> piece(4096);
  if (plain && (*plain)->size_bytes() >= piece.size() && !(*plain)->read(0, piece).ok()) {
    __builtin_trap();
  }
}

std::vector<engine::SecretBytes> made_up_keys(std::size_t count, std::size_t key_bytes) {
  std::vector<engine::SecretBytes> keys;
  for (std::size_t k = 0; k < count; ++k) {
    keys.emplace_back(key_bytes);
    for (std::size_t i = 0; i < key_bytes; ++i) keys[k].span()[i] = static_cast<std::byte>(i + k);
  }
  return keys;
}

// What is taken out of a header that was sound leaves one that can be read.
void edit(std::string_view json, const keyslots::Luks2Metadata& metadata) {
  for (const keyslots::Luks2Keyslot& slot : metadata.keyslots) {
    const auto without = keyslots::luks2_json_without_keyslot(json, slot.id);
    if (!without) continue;
    const auto parsed = keyslots::parse_luks2_json(*without);
    if (!parsed || parsed->keyslots.size() + 1 != metadata.keyslots.size()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  if (size > test::kLuks2CopyBytes - 4096) return 0;
  // Most inputs end here; making an image of each would take most of the time.
  auto metadata = keyslots::parse_luks2_json(json);
  if (!metadata || !keyslots::check_luks2_metadata(*metadata, test::kLuks2CopyBytes)) return 0;
  std::vector<std::byte> image(2 * 1024 * 1024 + 65536);
  test::put_luks2_copy(image, 0, json);
  test::put_luks2_copy(image, test::kLuks2CopyBytes, json);
  edit(json, *metadata);
  const keyslots::VolumeSource attached{std::make_shared<engine::MemoryDevice>(std::move(image)),
                                        nullptr};
  engine::Notices notices;
  auto header = keyslots::open_luks2(attached, notices);
  if (header && *header != nullptr && (*header)->facts().unusable.empty()) {
    auto volume =
        (*header)->layout(made_up_keys((*header)->key_count(), (*header)->facts().key_bits / 8));
    if (volume) read_some(attached, std::move(*volume));
  }
  if (!keyslots::is_under_reencryption(*metadata)) return 0;
  auto state = keyslots::understand_reencryption(*metadata);
  if (!state) return 0;
  auto volume = keyslots::reencryption_layout(attached, *metadata, *state, 1024 * 1024);
  if (!volume) return 0;
  volume->keys = made_up_keys(state->keys.size(), 64);
  read_some(attached, std::move(*volume));
  return 0;
}
