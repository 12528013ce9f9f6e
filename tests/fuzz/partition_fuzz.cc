// Any bytes as a disk: whatever its tables say, the partitions that come out lie inside it and
// leave each other alone. Run twice, the second time with the checksums of the GPT made right.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "engine/bytes.h"
#include "engine/crc32.h"
#include "engine/memory_device.h"
#include "engine/partitions/partition_table.h"

namespace {

using latchkey::engine::crc32;
using latchkey::engine::load_le;
using latchkey::engine::MemoryDevice;
using latchkey::engine::Notices;
using latchkey::engine::Partition;
using latchkey::engine::store_le;

void seal(std::vector<std::byte>& disk, std::size_t header_at, std::size_t sector_bytes) {
  if (header_at > disk.size() || 512 > disk.size() - header_at) return;
  const auto header = std::span(disk).subspan(header_at);
  const auto array_at = load_le<std::uint64_t>(header, 72);
  const std::uint64_t array_bytes =
      std::uint64_t{load_le<std::uint32_t>(header, 80)} * load_le<std::uint32_t>(header, 84);
  if (array_at < disk.size() / sector_bytes &&
      array_bytes <= disk.size() - array_at * sector_bytes) {
    const auto array = std::span(disk).subspan(array_at * sector_bytes, array_bytes);
    store_le<std::uint32_t>(header, 88, crc32(array));
  }
  const auto header_bytes = load_le<std::uint32_t>(header, 12);
  if (header_bytes < 92 || header_bytes > header.size()) return;
  store_le<std::uint32_t>(header, 16, 0);
  store_le<std::uint32_t>(header, 16, crc32(header.first(header_bytes)));
}

void read_once(const std::vector<std::byte>& bytes) {
  MemoryDevice disk(bytes);
  Notices notices;
  const auto table = latchkey::engine::read_partition_table(disk, notices);
  if (!table) std::abort();  // this device never fails
  for (std::size_t i = 0; i < table->partitions.size(); ++i) {
    const Partition& one = table->partitions[i];
    if (one.length == 0 || !disk.in_range(one.offset, one.length)) std::abort();
    for (std::size_t j = 0; j < i; ++j) {
      const Partition& other = table->partitions[j];
      if (one.offset < other.offset + other.length && other.offset < one.offset + one.length) {
        std::abort();
      }
    }
  }
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> disk(bytes, bytes + size);
  read_once(disk);
  for (const std::size_t sector_bytes : {std::size_t{512}, std::size_t{4096}}) {
    seal(disk, sector_bytes, sector_bytes);
    if (size >= sector_bytes)
      seal(disk, size / sector_bytes * sector_bytes - sector_bytes, sector_bytes);
  }
  read_once(disk);
  return 0;
}
