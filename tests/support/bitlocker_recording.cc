#include "tests/support/bitlocker_recording.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/support/bitlocker_crypto.h"
#include "tests/support/bitlocker_dataset.h"

namespace latchkey::test {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLogBytes = 0x80c00;
constexpr std::uint64_t kSlotBytes = 0x40400;
constexpr std::uint64_t kFirstRegion = 0x2000;
constexpr std::size_t kRecordBits = (std::size_t{512} - 36) * 8;

void put_name(ByteVector& bytes, std::string_view name) {
  std::memcpy(bytes.data(), name.data(), name.size());
}

}  // namespace

FveRecorder::FveRecorder(const FveSpec& spec, FveVolume& volume) : spec_(spec), volume_(volume) {
  if (spec.recording.chunk_bytes == 0) return;
  next_ = volume.metadata[1] + kFveMetadataBytes;
  volume.eow = {take(kPage), take(kPage)};
  const std::uint64_t relocated_end = volume.relocated + volume.relocated_bytes;
  add_region(kFirstRegion, volume.relocated - kFirstRegion);
  add_region(volume.relocated, volume.relocated_bytes);
  add_region(relocated_end, volume.plain.size() - relocated_end);
  log_ = take(kLogBytes);
  if (next_ > volume.metadata[2]) std::abort();
}

std::uint64_t FveRecorder::take(std::uint64_t length) {
  const std::uint64_t at = next_;
  next_ += (length + kPage - 1) / kPage * kPage;
  areas_.push_back({at, next_ - at});
  return at;
}

void FveRecorder::add_region(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t chunks =
      (length + spec_.recording.chunk_bytes - 1) / spec_.recording.chunk_bytes;
  if (chunks > kRecordBits) std::abort();  // more than a record holds
  std::mt19937_64 random(spec_.seed + regions_.size());
  Region region{offset, length, take(kPage), std::vector<bool>(chunks)};
  for (std::uint64_t i = 0; i < chunks; ++i) {
    region.done[i] = random() % 10 < spec_.recording.done_of_ten;
  }
  if (spec_.recording.interrupted && regions_.size() == 2) {
    region.done.at(*spec_.recording.interrupted) = true;
  }
  regions_.push_back(std::move(region));
}

bool FveRecorder::is_plain(std::uint64_t physical) const {
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const Region& region = regions_[i];
    if (physical < region.offset || physical - region.offset >= region.length) continue;
    const std::uint64_t chunk = (physical - region.offset) / spec_.recording.chunk_bytes;
    if (i == 2 && chunk == spec_.recording.interrupted) {
      const std::uint64_t inside = (physical - region.offset) % spec_.recording.chunk_bytes;
      return inside < spec_.recording.chunk_bytes / 2;
    }
    return !region.done[chunk];
  }
  return false;
}

void FveRecorder::put(std::uint64_t offset, const ByteVector& bytes) {
  std::copy(bytes.begin(), bytes.end(),
            volume_.image.begin() + static_cast<std::ptrdiff_t>(offset));
}

void FveRecorder::write() {
  if (spec_.recording.chunk_bytes == 0) return;
  write_log();
  for (std::size_t i = 0; i < regions_.size(); ++i) write_bitmap(i);
  write_information();
  for (std::uint64_t at = 0; at < volume_.image.size(); at += spec_.sector_bytes) {
    if (!is_plain(at)) volume_.recorded_ciphertext += spec_.sector_bytes;
  }
}

void FveRecorder::write_information() {
  ByteVector info(56 + 8 * regions_.size());
  put_name(info, std::string_view("FVE-EOW\0", 8));
  fve_put(info, 8, 56, 2);
  fve_put(info, 10, info.size(), 2);
  fve_put(info, 12, spec_.sector_bytes, 4);
  fve_put(info, 16, 0x200, 4);
  fve_put(info, 20, spec_.recording.chunk_bytes, 4);
  fve_put(info, 24, kLogBytes, 4);
  fve_put(info, 28, kSlotBytes, 4);
  fve_put(info, 32, regions_.size(), 4);
  fve_put(info, 40, volume_.eow[0], 8);
  fve_put(info, 48, volume_.eow[1], 8);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    fve_put(info, 56 + 8 * i, regions_[i].bitmap, 8);
  }
  fve_put(info, 36, fve_crc32(info), 4);
  put(volume_.eow[1], info);
  if (spec_.recording.second_copy_only) info[21] ^= std::byte{0xff};
  put(volume_.eow[0], info);
}

void FveRecorder::write_bitmap(std::size_t index) {
  const Region& region = regions_[index];
  ByteVector head(512);
  put_name(head, "FVE-EOWBM");
  fve_put(head, 10, 60, 2);
  fve_put(head, 12, 1536, 4);
  fve_put(head, 16, index, 4);
  fve_put(head, 20, region.offset, 8);
  fve_put(head, 28, region.length, 8);
  fve_put(head, 36, log_, 8);
  fve_put(head, 44, 512, 4);
  fve_put(head, 48, 1024, 4);
  fve_put(head, 52, 512, 4);
  fve_put(head, 56, fve_crc32(head), 4);
  put(region.bitmap, head);
  for (const bool newer : {false, true}) {
    ByteVector record(512);
    put_name(record, "FVE-EOWBR");
    fve_put(record, 10, 36, 2);
    fve_put(record, 12, 512, 4);
    fve_put(record, 16, region.done.size(), 4);
    // Where the newer one is bad, the older one must count.
    const bool bad = spec_.recording.second_copy_only && newer;
    const bool counts = newer != spec_.recording.second_copy_only;
    fve_put(record, 20, newer ? 8 : 7, 8);
    for (std::size_t bit = 0; bit < kRecordBits; ++bit) {
      // Bits beyond the count are junk, and so is a record that does not count.
      const bool set = counts && bit < region.done.size() ? region.done[bit] : bit % 3 == 0;
      if (set) record[36 + bit / 8] |= static_cast<std::byte>(1U << (bit % 8));
    }
    fve_put(record, 32, fve_crc32(record), 4);
    if (bad) record[40] ^= std::byte{0x55};
    put(region.bitmap + (newer ? 512 : 1024), record);
  }
}

void FveRecorder::write_log() {
  ByteVector log(kLogBytes);
  put_name(log, "OLRDHEVF");
  std::memcpy(log.data() + kLogBytes - 512, log.data(), 512);
  const auto put_slot = [&](std::size_t slot, std::uint64_t sequence, std::uint64_t offset,
                            const ByteVector& data) {
    ByteVector record(512);
    fve_put(record, 0, 32, 2);
    fve_put(record, 2, 1, 2);
    fve_put(record, 4, sequence, 8);
    fve_put(record, 12, offset, 8);
    fve_put(record, 20, data.size(), 4);
    fve_put(record, 24, fve_crc32(data), 4);
    fve_put(record, 28, fve_crc32(ByteVector(record.begin(), record.begin() + 28)), 4);
    const std::size_t at = 512 + slot * kSlotBytes;
    std::copy(record.begin(), record.end(), log.begin() + static_cast<std::ptrdiff_t>(at));
    std::copy(data.begin(), data.end(), log.begin() + static_cast<std::ptrdiff_t>(at + 512));
    std::copy(record.begin(), record.end(),
              log.begin() + static_cast<std::ptrdiff_t>(at + kSlotBytes - 512));
  };
  put_slot(0, 4, 0, ByteVector(0x40000));
  if (!spec_.recording.interrupted) {
    put_slot(1, 3, 0, ByteVector(0x40000));
    put(log_, log);
    return;
  }
  // The first 16 bytes of each of the chunk's 512 bytes, as they were all still ciphertext.
  const Region& region = regions_[2];
  const std::uint64_t start =
      region.offset + *spec_.recording.interrupted * spec_.recording.chunk_bytes;
  ByteVector data;
  for (std::uint64_t at = 0; at < spec_.recording.chunk_bytes; at += 512) {
    const std::uint64_t sector = (start + at) / spec_.sector_bytes * spec_.sector_bytes;
    const auto plain = volume_.plain.begin() + static_cast<std::ptrdiff_t>(sector);
    ByteVector bytes(plain, plain + spec_.sector_bytes);
    fve_encrypt_sector(spec_.method, volume_.fvek, sector, bytes.data(), spec_.sector_bytes);
    const auto logged = bytes.begin() + static_cast<std::ptrdiff_t>(start + at - sector);
    data.insert(data.end(), logged, logged + 16);
  }
  put_slot(1, 5, start, data);
  put(log_, log);
}

}  // namespace latchkey::test
