// Any bytes where a superblock may be. An input is a list of pieces: a byte that chooses the place,
// two bytes of length (little-endian), then the bytes that go there; the rest of the device is
// zero.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/memory_device.h"
#include "engine/signatures.h"

namespace {

constexpr std::size_t kDeviceBytes = 512 * 1024;
constexpr std::array<std::size_t, 12> kPlaces = {
    0,     512,   1024,   4096,   4096 - 512,          16384,
    32768, 65536, 131072, 262144, kDeviceBytes - 8192, kDeviceBytes - 65536};

bool printable(const std::string& text) {
  return latchkey::engine::printable(text) == text;
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  std::vector<std::byte> device(kDeviceBytes);
  while (size >= 3) {
    const std::size_t at = kPlaces[data[0] % kPlaces.size()];
    const std::size_t length =
        std::min<std::size_t>({data[1] + std::size_t{256} * data[2], size - 3, kDeviceBytes - at});
    std::copy_n(reinterpret_cast<const std::byte*>(data + 3), length,
                device.begin() + static_cast<std::ptrdiff_t>(at));
    data += 3 + length;
    size -= 3 + length;
  }
  latchkey::engine::MemoryDevice disk(std::move(device));
  const auto found = latchkey::engine::identify_content(disk);
  if (!printable(found.label) || !printable(found.uuid)) std::abort();
  if (found.empty() && (!found.label.empty() || found.needs_recovery)) std::abort();
  return 0;
}
