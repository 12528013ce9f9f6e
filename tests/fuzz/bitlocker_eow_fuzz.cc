// An encrypt-on-write recording read from a hostile volume.
//
// Input: byte 0, bit 0: sectors of 4096 bytes; then the volume. Its recording is looked for at the
// two places below. Sums are made right first (unless bit 1 is set), or hardly any input would get
// beyond them. What is accepted must be sorted, disjoint and made of whole sectors.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "engine/memory_device.h"
#include "keyslots/bitlocker/eow.h"
#include "tests/support/eow_builder.h"

namespace {

using namespace latchkey;

constexpr std::array<std::uint64_t, 2> kPlaces{4096, 8192};
constexpr std::size_t kMostBytes = 128 * 1024;

void require(bool holds) {
  if (!holds) std::abort();
}

bool has(const std::vector<std::byte>& volume, std::uint64_t at, std::size_t bytes) {
  return at <= volume.size() && bytes <= volume.size() - at;
}

void seal_bitmap(std::vector<std::byte>& volume, test::EowWriter& writer, std::uint64_t at) {
  if (!has(volume, at, 60)) return;
  for (const std::uint64_t field : {44U, 48U}) {
    const std::uint64_t record = writer.get(at + field, 4);
    if (has(volume, at + record, 512)) writer.seal_record(at + record);
  }
  const std::uint64_t header = writer.get(at + 44, 4);
  if (header >= 60 && has(volume, at, header)) writer.seal_bitmap(at);
  const std::uint64_t log = writer.get(at + 36, 8);
  const std::uint64_t slot_bytes = writer.get(kPlaces[0] + 28, 4);
  for (const std::uint64_t slot : {log + 512, log + 512 + slot_bytes}) {
    for (const std::uint64_t place : {slot, slot + slot_bytes - 512}) {
      if (has(volume, place, 512)) writer.seal_slot(place);
    }
  }
}

void seal_all(std::vector<std::byte>& volume) {
  test::EowWriter writer(volume);
  for (const std::uint64_t place : kPlaces) {
    if (!has(volume, place, 56) || !has(volume, place, writer.get(place + 10, 2))) continue;
    if (writer.get(place + 10, 2) < 56) continue;
    const std::uint64_t regions = std::min<std::uint64_t>(writer.get(place + 32, 4), 4);
    for (std::uint64_t i = 0; i < regions && has(volume, place + 56 + 8 * i, 8); ++i) {
      seal_bitmap(volume, writer, writer.get(place + 56 + 8 * i, 8));
    }
    writer.seal_information(place);
  }
}

void check(const std::vector<keyslots::VolumeRange>& ranges, std::uint32_t sector_bytes) {
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    require(ranges[i].length > 0 && ranges[i].length <= UINT64_MAX - ranges[i].offset);
    require(ranges[i].offset % sector_bytes == 0 && ranges[i].length % sector_bytes == 0);
    require(i == 0 || ranges[i].offset > end);  // touching ones are joined
    end = ranges[i].end();
  }
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  if (size == 0 || size > kMostBytes) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  std::vector<std::byte> volume(bytes.begin(), bytes.end());
  if ((data[0] & 2) == 0) seal_all(volume);
  const std::uint32_t sector_bytes = (data[0] & 1) != 0 ? 4096 : 512;
  engine::MemoryDevice device(std::move(volume), false);
  engine::Notices notices;
  const auto state = keyslots::read_eow(device, kPlaces, sector_bytes, notices);
  if (!state.ok()) {
    require(!state.error().message().empty());
    return 0;
  }
  if (!*state) return 0;
  check((*state)->plain, sector_bytes);
  check((*state)->hidden, sector_bytes);
  check((*state)->covered, sector_bytes);
  require((*state)->encrypted_bytes <= (*state)->covered_bytes);
  return 0;
}
