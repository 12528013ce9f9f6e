#include "keyslots/keys/bek_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/guid.h"
#include "keyslots/bitlocker/bitlocker_datum.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kHeaderBytes = 48;
constexpr std::uint16_t kExternalKeyMethod = 0x2002;
constexpr std::size_t kKeyBytes = 32;

Error damaged_bek(std::string what) {
  return {ErrorCode::kDamaged, "BEK: " + std::move(what)};
}

Result<SecretBytes> read_key(Bytes payload) {
  constexpr std::size_t kBeforeKey = 4;
  if (payload.size() != kBeforeKey + kKeyBytes) {
    return damaged_bek(fmt::format("its key entry has {} bytes instead of {}", payload.size(),
                                   kBeforeKey + kKeyBytes));
  }
  if (const auto method = load_le<std::uint16_t>(payload, 0); method != kExternalKeyMethod) {
    return damaged_bek(fmt::format("its key is of kind {:#06x} instead of 0x2002", method));
  }
  return SecretBytes::copy_of(payload.subspan(kBeforeKey));
}

Result<BekFile> read_external_key(const Datum& datum) {
  BekFile bek;
  bek.protector_id = upper_case(engine::guid_text(datum.payload, 0));
  bek.created = filetime_text(load_le<std::uint64_t>(datum.payload, 16));
  if (const Datum* text = datum.child(DatumType::kText)) bek.description = datum_text(*text);
  const Datum* volume = datum.child(DatumType::kGuid);
  if (volume != nullptr && volume->payload.size() >= 16) {
    bek.volume_id = upper_case(engine::guid_text(volume->payload, 0));
  }
  const Datum* key = datum.child(DatumType::kKey);
  if (key == nullptr) return damaged_bek("its external key holds no key");
  auto bytes = read_key(key->payload);
  if (!bytes) return std::move(bytes).error();
  bek.key = std::move(*bytes);
  return bek;
}

// As many bytes as the header says; what follows may only be padding or a line end.
Result<Bytes> declared_bytes(Bytes bytes) {
  if (bytes.size() < 16 || load_le<std::uint32_t>(bytes, 4) != 1 ||
      load_le<std::uint32_t>(bytes, 8) != kHeaderBytes) {
    return damaged_bek("it does not begin as a BEK file does");
  }
  const std::size_t size = load_le<std::uint32_t>(bytes, 0);
  if (size != load_le<std::uint32_t>(bytes, 12)) {
    return damaged_bek(fmt::format("its header gives two sizes, {} and {} bytes", size,
                                   load_le<std::uint32_t>(bytes, 12)));
  }
  if (size < kMinBekBytes || size > kMaxBekBytes) {
    return damaged_bek(fmt::format("its header says {} bytes; a BEK file has {} to {}", size,
                                   kMinBekBytes, kMaxBekBytes));
  }
  if (size > bytes.size()) {
    return damaged_bek(
        fmt::format("it is cut short: its header says {} bytes, {} are here", size, bytes.size()));
  }
  const Bytes after = bytes.subspan(size);
  const bool padding = std::all_of(after.begin(), after.end(), [](std::byte b) {
    return b == std::byte{0} || b == std::byte{'\r'} || b == std::byte{'\n'};
  });
  if (!padding) {
    return damaged_bek(fmt::format("its header says {} bytes, {} are here", size, bytes.size()));
  }
  return bytes.first(size);
}

}  // namespace

bool looks_like_bek(Bytes bytes) noexcept {
  if (bytes.size() < 16 || load_le<std::uint32_t>(bytes, 4) != 1 ||
      load_le<std::uint32_t>(bytes, 8) != kHeaderBytes) {
    return false;
  }
  const auto plausible = [](std::size_t size) {
    return size >= kMinBekBytes && size <= kMaxBekBytes;
  };
  return plausible(load_le<std::uint32_t>(bytes, 0)) ||
         plausible(load_le<std::uint32_t>(bytes, 12));
}

Result<BekFile> parse_bek(Bytes bytes) {
  auto declared = declared_bytes(bytes);
  if (!declared) return std::move(declared).error();
  const auto datums = parse_datums(declared->subspan(kHeaderBytes));
  if (!datums) return damaged_bek(datums.error().message());
  const Datum* key = find_datum(*datums, DatumRole::kStartupKey, DatumType::kExternalKey);
  if (key == nullptr) return damaged_bek("it holds no external key");
  return read_external_key(*key);
}

}  // namespace latchkey::keyslots
