// BEK files from arbitrary bytes. What is accepted holds a key of 32 bytes and a whole GUID.
#include <cstdint>

#include "keyslots/keys/bek_file.h"

using namespace latchkey;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const engine::Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto bek = keyslots::parse_bek(bytes);
  if (!bek) return 0;
  if (bek->key.size() != 32 || bek->protector_id.size() != 36) __builtin_trap();
  if (!keyslots::looks_like_bek(bytes)) __builtin_trap();
  return 0;
}
