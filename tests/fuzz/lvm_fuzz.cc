// Any bytes as an LVM physical volume: whatever its metadata say, the logical volumes that come out
// lie inside it and can be read. Run twice: as they are, with the checksums made right; and as the
// bare text, so that the fuzzer gets past the envelope.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/lvm/lvm_member.h"
#include "engine/lvm/lvm_metadata.h"
#include "engine/lvm/volume_groups.h"
#include "engine/memory_device.h"

namespace {

using latchkey::engine::DevicePtr;
using latchkey::engine::load_le;
using latchkey::engine::lvm_crc;
using latchkey::engine::MemoryDevice;
using latchkey::engine::Notices;
using latchkey::engine::store_le;

constexpr std::size_t kSector = 512;

// The checksums of every label, and of the areas and texts it leads to.
void seal(std::vector<std::byte>& disk) {
  for (std::size_t number = 0; number < 4 && (number + 1) * kSector <= disk.size(); ++number) {
    const auto label = std::span(disk).subspan(number * kSector, kSector);
    for (std::size_t at = 32; at + 16 <= kSector; at += 8) {
      const auto area_at = load_le<std::uint64_t>(label, at);
      if (area_at > disk.size() || disk.size() - area_at < kSector) continue;
      const auto area = std::span(disk).subspan(area_at);
      const auto text_at = load_le<std::uint64_t>(area, 40);
      const auto length = load_le<std::uint64_t>(area, 48);
      if (text_at < kSector || text_at > area.size() || length > area.size() - text_at) continue;
      store_le<std::uint32_t>(area, 56, lvm_crc(area.subspan(text_at, length)));
      store_le<std::uint32_t>(area, 0, lvm_crc(area.subspan(4, kSector - 4)));
    }
    store_le<std::uint32_t>(label, 16, lvm_crc(label.subspan(20)));
  }
}

void read_once(const std::vector<std::byte>& bytes) {
  const auto device = std::make_shared<MemoryDevice>(bytes);
  Notices notices;
  const auto groups = latchkey::engine::find_volume_groups({{"p1", device}}, notices);
  for (const auto& group : groups) {
    if (!latchkey::engine::is_lvm_name(group.name)) std::abort();
    for (const auto& volume : group.volumes) {
      if ((volume.device == nullptr) == volume.why_not.empty()) std::abort();
      if (volume.device == nullptr) continue;
      if (volume.device->size_bytes() != volume.size_bytes) std::abort();
      if (volume.size_bytes > bytes.size()) std::abort();  // it owns no byte twice
      std::vector<std::byte> content(volume.size_bytes);
      if (!volume.device->read(0, content).ok()) std::abort();
    }
  }
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> disk(bytes, bytes + size);
  read_once(disk);
  seal(disk);
  read_once(disk);
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto group = latchkey::engine::parse_lvm_group(text); group.ok()) {
    for (const auto& volume : group->logical) {
      for (const auto& run : volume.runs) {
        if (run.physical >= group->physical.size()) std::abort();
        const auto there = group->physical[run.physical].extents;
        if (run.first_extent > there || run.extents > there - run.first_extent) std::abort();
      }
    }
  }
  return 0;
}
