#include "keyslots/bitlocker/bitlocker_metadata.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/crc32.h"
#include "engine/guid.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;

namespace {

constexpr std::size_t kBlockHeaderBytes = 64;
constexpr std::size_t kDatasetHeaderBytes = 48;
constexpr std::size_t kValidationHeadBytes = 8;

Error damaged(std::string text) {
  return {ErrorCode::kDamaged, std::move(text)};
}

Result<void> parse_header(Bytes block, BitlockerMetadata& metadata) {
  if (block.size() < kBlockHeaderBytes + kDatasetHeaderBytes) return damaged("it is cut short");
  if (!engine::starts_with(block, 0, kBitlockerSignature)) return damaged("no signature is there");
  metadata.version = load_le<std::uint16_t>(block, 10);
  if (metadata.version != 1 && metadata.version != 2) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("metadata version {} is not known", metadata.version));
  }
  // Vista counts bytes, its successors units of 16.
  metadata.info_bytes =
      std::size_t{load_le<std::uint16_t>(block, 8)} * (metadata.version == 1 ? 1 : 16);
  const std::size_t most =
      (metadata.version == 1 ? kBitlockerVistaCopyBytes : kBitlockerCopyBytes) -
      kValidationHeadBytes;
  if (metadata.info_bytes < kBlockHeaderBytes + kDatasetHeaderBytes ||
      metadata.info_bytes > std::min(most, block.size())) {
    return damaged(fmt::format("its size of {} bytes cannot be true", metadata.info_bytes));
  }
  const auto state = load_le<std::uint16_t>(block, 12);
  if (state < 1 || state > 5) {
    return Error(ErrorCode::kNotSupported, fmt::format("volume state {} is not known", state));
  }
  metadata.state = static_cast<BitlockerState>(state);
  metadata.next_state = static_cast<BitlockerState>(load_le<std::uint16_t>(block, 14));
  metadata.state_offset = load_le<std::uint64_t>(block, 16);
  metadata.state_bytes = load_le<std::uint32_t>(block, 24);
  for (std::size_t i = 0; i < 3; ++i) {
    metadata.offsets[i] = load_le<std::uint64_t>(block, 32 + i * 8);
  }
  const auto last = load_le<std::uint64_t>(block, 56);
  if (metadata.version == 1) {
    metadata.mft_mirror_cluster = last;
  } else {
    metadata.virtualized_sectors = load_le<std::uint32_t>(block, 28);
    metadata.virtualized_offset = last;
  }
  return {};
}

Result<void> parse_dataset(Bytes dataset, BitlockerMetadata& metadata) {
  const std::size_t size = load_le<std::uint32_t>(dataset, 0);
  const std::size_t start = load_le<std::uint32_t>(dataset, 8);
  const std::size_t end = load_le<std::uint32_t>(dataset, 12);
  if (size > dataset.size() || start < kDatasetHeaderBytes || start > end || end > size) {
    return damaged(fmt::format("its entries from byte {} to {} of {} do not fit the {} there are",
                               start, end, size, dataset.size()));
  }
  std::copy_n(dataset.begin() + 16, metadata.volume_guid.size(), metadata.volume_guid.begin());
  metadata.next_nonce = load_le<std::uint32_t>(dataset, 32);
  metadata.method = static_cast<BitlockerMethod>(load_le<std::uint16_t>(dataset, 36));
  auto datums = parse_datums(dataset.subspan(start, end - start));
  if (!datums) return std::move(datums).error();
  metadata.datums = std::move(*datums);
  return {};
}

// The record behind the metadata. Where it makes no sense, the sum does not hold.
void parse_validation(Bytes record, BitlockerMetadata& metadata) {
  if (record.size() < kValidationHeadBytes) return;
  metadata.crc_holds = load_le<std::uint32_t>(record, 4) == engine::crc32(metadata.info());
  const std::size_t said = load_le<std::uint16_t>(record, 0);
  record = record.first(std::clamp(said, kValidationHeadBytes, record.size()));
  record = record.subspan(kValidationHeadBytes);
  if (record.size() < kDatumHeadBytes) return;
  const std::size_t size = load_le<std::uint16_t>(record, 0);
  const auto type = static_cast<DatumType>(load_le<std::uint16_t>(record, 4));
  if (type != DatumType::kAesCcm || size < kDatumHeadBytes || size > record.size()) return;
  metadata.sealed_hash = record.subspan(kDatumHeadBytes, size - kDatumHeadBytes);
}

}  // namespace

std::string BitlockerMetadata::volume_guid_text() const {
  return engine::guid_text(volume_guid, 0);
}

std::string BitlockerMetadata::description() const {
  const Datum* text = find_datum(datums, DatumRole::kDescription, DatumType::kText);
  return text == nullptr ? std::string() : datum_text(*text);
}

std::uint64_t BitlockerMetadata::virtualized_bytes() const noexcept {
  const Datum* datum = find_datum(datums, DatumRole::kVirtualization, DatumType::kVirtualization);
  if (datum == nullptr || datum->payload.size() < 16) return 0;
  return load_le<std::uint64_t>(datum->payload, 8);
}

Result<BitlockerMetadata> parse_bitlocker_metadata(Bytes block) {
  BitlockerMetadata metadata;
  const Bytes held = block.first(std::min(block.size(), kBitlockerCopyBytes));
  metadata.bytes.assign(held.begin(), held.end());
  const Bytes bytes(metadata.bytes);
  if (auto done = parse_header(bytes, metadata); !done) return std::move(done).error();
  const Bytes dataset = metadata.info().subspan(kBlockHeaderBytes);
  if (auto done = parse_dataset(dataset, metadata); !done) return std::move(done).error();
  parse_validation(bytes.subspan(metadata.info_bytes), metadata);
  return metadata;
}

}  // namespace latchkey::keyslots
