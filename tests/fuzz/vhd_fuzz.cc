// Any bytes as an image: opens or is refused, never more. What opens is read in pieces and, where
// it takes writes, written to and opened again. Run twice, the second time with the checksums of
// footer and headers made right, so that what lies behind them is reached.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/containers/container.h"
#include "engine/containers/vhd_format.h"
#include "engine/fault_log.h"
#include "engine/memory_device.h"

namespace {

using latchkey::engine::BlockDevice;
using latchkey::engine::load_be;
using latchkey::engine::MemoryDevice;
using latchkey::engine::Notices;
using latchkey::engine::open_container;

constexpr std::uint64_t kMostBytesRead = 256 * 1024;

void seal(std::vector<std::byte>& image, std::size_t at, std::size_t length, std::size_t field) {
  if (at > image.size() || length > image.size() - at) return;
  const auto span = std::span(image).subspan(at, length);
  latchkey::engine::store_be(span, field, latchkey::engine::vhd_checksum(span, field));
}

void seal_all(std::vector<std::byte>& image) {
  seal(image, 0, 512, 64);
  if (image.size() >= 512) seal(image, image.size() - 512, 512, 64);
  if (image.size() < 512) return;
  const auto header_at = load_be<std::uint64_t>(image, 16);
  if (header_at < image.size()) seal(image, header_at, 1024, 36);
}

void read_some(BlockDevice& disk) {
  std::vector<std::byte> piece(4096 + 1);
  const std::uint64_t size = disk.size_bytes();
  const std::uint64_t step = std::max<std::uint64_t>(piece.size(), size / (kMostBytesRead / 4096));
  for (std::uint64_t at = 0; at < size; at += step) {
    const std::size_t length = std::min<std::uint64_t>(piece.size(), size - at);
    (void)disk.read(at, std::span(piece).first(length));
    if (disk.extent_at(at, size - at).length == 0) std::abort();
    if (size - at <= step) break;
  }
}

void write_some(BlockDevice& disk) {
  const std::vector<std::byte> data(700, std::byte{0x5a});
  const std::uint64_t size = disk.size_bytes();
  for (const std::uint64_t at :
       {std::uint64_t{0}, size / 2, size - std::min<std::uint64_t>(size, 700)}) {
    if (!disk.in_range(at, data.size())) continue;
    std::vector<std::byte> back(data.size());
    if (disk.write(at, data).ok() && (!disk.read(at, back).ok() || back != data)) std::abort();
  }
  (void)disk.flush();
}

void open_once(std::vector<std::byte> image) {
  const auto file = std::make_shared<MemoryDevice>(std::move(image), true);
  Notices notices;
  auto opened = open_container(file, notices, "image.vhd");
  if (!opened || opened->format == "raw") return;
  read_some(*opened->disk);
  if (!opened->disk->writable()) return;
  // Blocks are allocated whole: large ones would only cost time.
  for (const auto& [name, value] : opened->facts) {
    if (name == "block size" && value.size() >= sizeof("100000 bytes")) return;
  }
  write_some(*opened->disk);
  Notices ignored;
  auto again = open_container(file, ignored);
  if (!again || again->format == "raw") std::abort();
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> image(bytes, bytes + size);
  open_once(image);
  seal_all(image);
  open_once(std::move(image));
  (void)latchkey::engine::take_faults();
  return 0;
}
