#include "tests/support/bitlocker_dataset.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <openssl/evp.h>

#include "tests/support/bitlocker_crypto.h"

namespace latchkey::test {
namespace {

constexpr std::uint16_t kVmkKey = 0x2003;
constexpr std::uint16_t kValidationHash = 0x2005;

void append(ByteVector& bytes, const ByteVector& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

ByteVector number(std::uint64_t value, unsigned count) {
  ByteVector bytes(count);
  fve_put(bytes, 0, value, count);
  return bytes;
}

ByteVector joined(std::initializer_list<ByteVector> parts) {
  ByteVector bytes;
  for (const ByteVector& part : parts) append(bytes, part);
  return bytes;
}

ByteVector utf16_bytes(std::u16string_view text) {
  ByteVector bytes;
  for (const char16_t unit : text) append(bytes, number(unit, 2));
  return bytes;
}

std::size_t fvek_bytes(FveMethod method) {
  switch (method) {
    case FveMethod::kElephant128:
    case FveMethod::kElephant256:
    case FveMethod::kXts256:
      return 64;
    case FveMethod::kCbc128:
      return 16;
    case FveMethod::kCbc256:
    case FveMethod::kXts128:
      return 32;
    case FveMethod::kNone:
      return 0;
  }
  std::abort();
}

ByteVector bek_file(const ByteVector& guid, const ByteVector& key, std::u16string_view description,
                    const ByteVector& volume_guid) {
  ByteVector contents = joined({guid, number(kFveCreated, 8), FveDataset::text(0, description)});
  if (!volume_guid.empty()) append(contents, FveDataset::datum(0x19, 0x17, volume_guid));
  append(contents, FveDataset::key(0, 0x2002, key));
  const ByteVector datum = FveDataset::datum(6, 9, contents);
  const std::uint64_t size = 48 + datum.size();
  return joined({number(size, 4), number(1, 4), number(48, 4), number(size, 4), guid, number(1, 4),
                 number(0, 4), number(kFveCreated, 8), datum});
}

}  // namespace

std::uint32_t fve_crc32(const ByteVector& bytes) {
  std::uint32_t sum = 0xffffffff;
  for (const std::byte byte : bytes) {
    sum ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~sum;
}

void fve_put(ByteVector& bytes, std::size_t at, std::uint64_t value, unsigned count) {
  if (at + count > bytes.size()) std::abort();
  for (unsigned i = 0; i < count; ++i) {
    bytes[at + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
  }
}

std::uint64_t fve_get(const ByteVector& bytes, std::size_t at, unsigned count) {
  if (at + count > bytes.size()) std::abort();
  std::uint64_t value = 0;
  for (unsigned i = 0; i < count; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  }
  return value;
}

std::string fve_guid_text(const ByteVector& guid) {
  std::string text;
  for (const int place : {3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15}) {
    if (place < 0) {
      text += '-';
      continue;
    }
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02X",
                  std::to_integer<unsigned>(guid.at(static_cast<std::size_t>(place))));
    text += digits.data();
  }
  return text;
}

ByteVector FveDataset::random_bytes(std::size_t count) {
  ByteVector bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_() & 0xff);
  return bytes;
}

ByteVector FveDataset::datum(std::uint16_t role, std::uint16_t type, const ByteVector& contents,
                             std::uint16_t flags) {
  return joined({number(8 + contents.size(), 2), number(role, 2), number(type, 2), number(flags, 2),
                 contents});
}

ByteVector FveDataset::text(std::uint16_t role, std::u16string_view text) {
  return datum(role, 2, joined({utf16_bytes(text), number(0, 2)}));
}

ByteVector FveDataset::key(std::uint16_t role, std::uint16_t key_type, const ByteVector& key,
                           std::uint16_t flags) {
  return datum(role, 1, joined({number(key_type, 2), number(0, 2), key}), flags);
}

ByteVector FveDataset::sealed(std::uint16_t role, const ByteVector& under, std::uint16_t key_type,
                              const ByteVector& secret) {
  const ByteVector nonce = joined({number(kFveCreated, 8), number(nonce_++, 4)});
  return datum(role, 5, joined({nonce, fve_ccm(under, nonce, key(0, key_type, secret, 0))}));
}

ByteVector FveDataset::clear_key(const FveVolume& volume) {
  const ByteVector clear = random_bytes(32);
  return joined({key(0, 0x2000, clear), sealed(0, clear, kVmkKey, volume.vmk)});
}

ByteVector FveDataset::external_key(const FveProtector& wanted, const FveVolume& volume,
                                    const ByteVector& guid, FveWayIn& way_in) {
  way_in.external_key = random_bytes(32);
  ByteVector volume_guid(16);
  std::memcpy(volume_guid.data(), volume.image.data() + volume.metadata[0] + kFveDatasetAt + 16,
              16);
  way_in.bek = bek_file(guid, way_in.external_key, wanted.description, {});
  way_in.bek_win11 = bek_file(guid, way_in.external_key, wanted.description, volume_guid);
  const ByteVector use = datum(0, 4,
                               joined({number(0x2002, 2), number(0, 2),
                                       sealed(0, volume.vmk, 0x2002, way_in.external_key)}));
  return joined(
      {text(0, wanted.description), use, sealed(0, way_in.external_key, kVmkKey, volume.vmk)});
}

ByteVector FveDataset::recovery(const FveVolume& volume, FveWayIn& way_in) {
  ByteVector password = random_bytes(16);
  for (std::size_t group = 0; group < 8; ++group) {
    std::array<char, 8> digits{};
    std::snprintf(digits.data(), digits.size(), "%06u",
                  static_cast<unsigned>(fve_get(password, 2 * group, 2)) * 11U);
    way_in.recovery += (group == 0 ? "" : "-") + std::string(digits.data());
  }
  const ByteVector salt = random_bytes(16);
  const ByteVector stretched = fve_stretch(fve_sha256(password), salt);
  const ByteVector backup = joined(
      {sealed(0x12, volume.vmk, 0, password), sealed(0x13, volume.vmk, 0x2008, random_bytes(32))});
  const ByteVector stretch = datum(0, 3, joined({number(0x1000, 2), number(0, 2), salt, backup}));
  return joined({stretch, sealed(0, stretched, kVmkKey, volume.vmk)});
}

ByteVector FveDataset::passphrase(const FveProtector& wanted, const FveVolume& volume) {
  const ByteVector hash = fve_sha256(fve_sha256(utf16_bytes(wanted.passphrase)));
  const ByteVector salt = random_bytes(16);
  const ByteVector stretched = fve_stretch(hash, salt);
  const ByteVector stretch = datum(0, 3,
                                   joined({number(0x1001, 2), number(0, 2), salt,
                                           sealed(0, volume.vmk, 0x2007, random_bytes(32))}));
  return joined({stretch, sealed(0, stretched, kVmkKey, volume.vmk)});
}

ByteVector FveDataset::protector(const FveProtector& wanted, const FveVolume& volume,
                                 FveWayIn& way_in) {
  const ByteVector guid = random_bytes(16);
  way_in.guid = fve_guid_text(guid);
  std::uint16_t kind = 0;
  ByteVector properties;
  switch (wanted.kind) {
    case FveProtector::Kind::kClearKey:
      properties = clear_key(volume);
      break;
    case FveProtector::Kind::kExternalKey:
      kind = 0x0200;
      properties = external_key(wanted, volume, guid, way_in);
      break;
    case FveProtector::Kind::kRecoveryPassword:
      kind = 0x0800;
      properties = recovery(volume, way_in);
      break;
    case FveProtector::Kind::kPassphrase:
      kind = 0x2000;
      properties = passphrase(wanted, volume);
      break;
    case FveProtector::Kind::kTpm:
      kind = 0x0100;
      properties = joined(
          {datum(0, 6, random_bytes(180)), sealed(0, random_bytes(32), kVmkKey, volume.vmk)});
      break;
    case FveProtector::Kind::kUnknown:
      kind = 0x4000;
      properties = datum(0, 0x33, random_bytes(40));
      break;
  }
  if (wanted.new_properties) {
    append(properties,
           datum(0, 0x15,
                 joined({number(kFveCreated, 8), number(kFveCreated, 8), number(0x20008, 4)})));
    append(properties, datum(0x19, 0x17, random_bytes(16)));
    append(properties, datum(0, 0x18, utf16_bytes(u"a hint")));
    append(properties, datum(0x44, 0x55, random_bytes(5)));
  }
  // Windows 11 flags its clear keys 3.
  const std::uint16_t flags = kind == 0 && wanted.new_properties ? 3 : 1;
  return datum(2, 8,
               joined({guid, number(kFveCreated, 8), number(0, 2), number(kind, 2), properties}),
               flags);
}

namespace {

void put_header(const FveSpec& spec, const FveVolume& volume, ByteVector& copy) {
  std::memcpy(copy.data(), "-FVE-FS-", 8);
  fve_put(copy, 10, 2, 2);
  fve_put(copy, 12, spec.state, 2);
  fve_put(copy, 14, spec.next_state, 2);
  fve_put(copy, 16, spec.converted_below.value_or(volume.plain.size()), 8);
  fve_put(copy, 24, spec.log_bytes, 4);
  fve_put(copy, 28, volume.relocated_bytes / spec.sector_bytes, 4);
  for (std::size_t i = 0; i < 3; ++i) fve_put(copy, 32 + 8 * i, volume.metadata[i], 8);
  fve_put(copy, 56, volume.relocated, 8);
}

// As Windows 10 writes it: where the relocated block is, and an extension that readers skip.
ByteVector virtualization(const FveSpec& spec, const FveVolume& volume) {
  ByteVector contents(92);
  fve_put(contents, 0, volume.relocated, 8);
  fve_put(contents, 8, volume.relocated_bytes, 8);
  fve_put(contents, 16, 0x004c0005, 4);
  fve_put(contents, 24, 10, 4);
  fve_put(contents, 48, spec.sector_bytes, 4);
  fve_put(contents, 52, spec.sector_bytes, 4);
  return FveDataset::datum(0xf, 0xf, contents);
}

}  // namespace

ByteVector make_fve_copy(const FveSpec& spec, FveVolume& volume) {
  FveDataset dataset(spec.seed);
  const ByteVector volume_guid = dataset.random_bytes(16);
  volume.volume_guid = fve_guid_text(volume_guid);
  volume.vmk = dataset.random_bytes(32);
  volume.fvek = dataset.random_bytes(fvek_bytes(spec.method));
  // The protectors repeat the volume's GUID and find it where it is going to be.
  std::memcpy(volume.image.data() + volume.metadata[0] + kFveDatasetAt + 16, volume_guid.data(),
              16);
  ByteVector datums = FveDataset::text(7, u"LATCHKEY-TEST C: 13/09/2025");
  for (const FveProtector& wanted : spec.protectors) {
    volume.ways_in.emplace_back();
    append(datums, dataset.protector(wanted, volume, volume.ways_in.back()));
  }
  if (spec.method != FveMethod::kNone) {
    append(datums,
           dataset.sealed(3, volume.vmk, static_cast<std::uint16_t>(spec.method), volume.fvek));
  }
  append(datums, virtualization(spec, volume));

  const std::size_t size = (kFveFirstDatumAt + datums.size() + 15) / 16 * 16;
  ByteVector copy(kFveMetadataBytes);
  put_header(spec, volume, copy);
  fve_put(copy, 8, size / 16, 2);
  const std::uint64_t dataset_bytes = kFveFirstDatumAt - kFveDatasetAt + datums.size();
  fve_put(copy, kFveDatasetAt, dataset_bytes, 4);
  fve_put(copy, kFveDatasetAt + 4, 1, 4);
  fve_put(copy, kFveDatasetAt + 8, kFveFirstDatumAt - kFveDatasetAt, 4);
  fve_put(copy, kFveDatasetAt + 12, dataset_bytes, 4);
  std::memcpy(copy.data() + kFveDatasetAt + 16, volume_guid.data(), 16);
  fve_put(copy, kFveDatasetAt + 32, dataset.next_nonce(), 4);
  fve_put(copy, kFveDatasetAt + 36, static_cast<std::uint16_t>(spec.method), 2);
  fve_put(copy, kFveDatasetAt + 38, static_cast<std::uint16_t>(spec.method), 2);
  fve_put(copy, kFveDatasetAt + 40, kFveCreated, 8);
  std::memcpy(copy.data() + kFveFirstDatumAt, datums.data(), datums.size());
  return copy;
}

void seal_fve_copy(FveVolume& volume, unsigned copy) {
  const std::uint64_t at = volume.metadata.at(copy);
  const std::uint64_t size = fve_get(volume.image, at + 8, 2) * 16;
  if (size + 128 > kFveMetadataBytes) std::abort();
  const auto begin = volume.image.begin() + static_cast<std::ptrdiff_t>(at);
  const ByteVector covered(begin, begin + static_cast<std::ptrdiff_t>(size));
  // A nonce that no other datum of the volume has.
  const ByteVector nonce = joined({number(kFveCreated, 8), number(0x10000 + copy, 4)});
  const ByteVector hash = FveDataset::key(0, kValidationHash, fve_sha256(covered), 0);
  const ByteVector record =
      joined({number(kFveMetadataBytes - size, 2), number(2, 2), number(fve_crc32(covered), 4),
              FveDataset::datum(0, 5, joined({nonce, fve_ccm(volume.vmk, nonce, hash)}))});
  std::memcpy(volume.image.data() + at + size, record.data(), record.size());
}

void patch_fve(FveVolume& volume, std::size_t offset, std::uint64_t value, unsigned bytes) {
  for (unsigned copy = 0; copy < 3; ++copy) {
    fve_put(volume.image, volume.metadata.at(copy) + offset, value, bytes);
    seal_fve_copy(volume, copy);
  }
}

std::size_t fve_datum(const FveVolume& volume, std::uint16_t role, std::uint16_t type,
                      unsigned which) {
  const std::uint64_t at = volume.metadata[0];
  const std::uint64_t end = kFveDatasetAt + fve_get(volume.image, at + kFveDatasetAt, 4);
  for (std::size_t nested = 0; nested < 2; ++nested) {
    for (std::uint64_t datum = kFveFirstDatumAt; datum + 8 <= end;) {
      const std::uint64_t size = fve_get(volume.image, at + datum, 2);
      const bool protector = fve_get(volume.image, at + datum + 4, 2) == 8;
      const std::uint64_t inner_end = nested == 1 && protector ? datum + size : datum + 1;
      for (std::uint64_t inner = nested == 1 ? datum + 36 : datum; inner < inner_end;) {
        if (fve_get(volume.image, at + inner + 2, 2) == role &&
            fve_get(volume.image, at + inner + 4, 2) == type && which-- == 0) {
          return inner;
        }
        inner += fve_get(volume.image, at + inner, 2);
      }
      datum += size;
    }
  }
  std::abort();
}

}  // namespace latchkey::test
