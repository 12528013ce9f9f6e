#include "keyslots/bitlocker/bitlocker_facts.h"

#include <algorithm>

#include <fmt/format.h>

#include "keyslots/bitlocker/bitlocker_cipher.h"

namespace latchkey::keyslots {
namespace {

unsigned percent_of(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return 0;
  return static_cast<unsigned>(100.0 * static_cast<double>(std::min(part, whole)) /
                               static_cast<double>(whole));
}

// Which way a conversion goes can be told from the state it is to reach.
std::string conversion(const BitlockerMetadata& metadata, unsigned encrypted_percent) {
  const bool paused = metadata.state == BitlockerState::kPaused;
  if (metadata.next_state == BitlockerState::kDecrypted) {
    return paused ? fmt::format("decryption paused, {}% still encrypted", encrypted_percent)
                  : fmt::format("decryption under way, {}% still encrypted", encrypted_percent);
  }
  return paused ? fmt::format("encryption paused at {}%", encrypted_percent)
                : fmt::format("encryption under way, {}% done", encrypted_percent);
}

std::string state_text(const BitlockerMetadata& metadata, const BitlockerShape& shape,
                       const EowState* eow) {
  if (eow != nullptr) {
    if (eow->encrypted_bytes >= eow->covered_bytes) {
      return "fully encrypted, with the recording of its conversion still there";
    }
    return fmt::format("partly encrypted (encrypt-on-write), {}% done",
                       percent_of(eow->encrypted_bytes, eow->covered_bytes));
  }
  switch (metadata.state) {
    case BitlockerState::kDecrypted:
      return "decrypted; BitLocker's metadata is still there";
    case BitlockerState::kEncrypted:
      return "fully encrypted";
    default:
      return conversion(metadata, percent_of(metadata.state_offset, shape.volume_bytes));
  }
}

}  // namespace

VolumeFacts bitlocker_facts(const FoundBitlocker& found, const BitlockerShape& shape,
                            const EowState* eow, bool suspended) {
  const BitlockerMetadata& metadata = found.copies.front();
  VolumeFacts facts;
  facts.format = "BitLocker";
  facts.cipher = describe_bitlocker_method(metadata.method);
  facts.key_bits = static_cast<unsigned>(bitlocker_key_bytes(metadata.method) * 8);
  facts.sector_bytes = shape.sector_bytes;
  facts.uuid = metadata.volume_guid_text();
  facts.label = metadata.description();
  facts.payload_bytes = shape.volume_bytes;
  facts.state = state_text(metadata, shape, eow);
  if (suspended) facts.state += "; suspended: the clear key opens it";
  if (metadata.version == 1) facts.state += "; made by Windows Vista";
  return facts;
}

std::uint64_t declared_bitlocker_bytes(const FoundBitlocker& found, const BitlockerShape& shape) {
  const BitlockerMetadata& metadata = found.copies.front();
  std::uint64_t bytes = 0;
  if (found.boot.volume_sectors <= UINT64_MAX / shape.sector_bytes) {
    bytes = found.boot.volume_sectors * shape.sector_bytes;
  }
  if (metadata.state == BitlockerState::kEncrypted) bytes = std::max(bytes, metadata.state_offset);
  return bytes;
}

std::string why_bitlocker_read_only(const FoundBitlocker& found,
                                    const BitlockerMetadata& metadata) {
  if (metadata.version == 1) return "volumes made by Windows Vista are only read";
  if (found.boot_damaged) return "its boot sector is damaged";
  if (!metadata.crc_holds) return "the checksum of its metadata is wrong";
  if (metadata.state != BitlockerState::kEncrypted) {
    return metadata.state == BitlockerState::kDecrypted ? "it is not encrypted any more"
                                                        : "its conversion is not finished";
  }
  if (found.boot.eow_offsets) return "its conversion (encrypt-on-write) is still being recorded";
  return {};
}

}  // namespace latchkey::keyslots
