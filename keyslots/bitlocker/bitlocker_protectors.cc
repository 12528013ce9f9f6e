#include "keyslots/bitlocker/bitlocker_protectors.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "engine/guid.h"
#include "keyslots/bitlocker/bitlocker_unlock.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_le;
using engine::Result;
using engine::SecretBytes;
using ProtectorKind = BitlockerProtectorKind;

namespace {

constexpr std::size_t kFiletimeAt = 16;
constexpr std::size_t kKindAt = 26;
constexpr std::size_t kSaltAt = 4;
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kRecoveryKeyBytes = 16;
// The kind's bits.
constexpr unsigned kTpmBit = 0x0100;
constexpr unsigned kExternalBit = 0x0200;
constexpr unsigned kPinBit = 0x0400;
constexpr unsigned kRecoveryBit = 0x0800;
constexpr unsigned kSmartCardBit = 0x1000;
constexpr unsigned kPassphraseBit = 0x2000;
// Of a key derivation that is not the usual 2^20 rounds.
constexpr unsigned kEnhancedCrypto = 0x10;
constexpr unsigned kPbkdf2 = 0x40;

ProtectorKind kind_of(std::uint16_t code) {
  const unsigned bits = code & 0xff00U;
  if (bits == 0) return ProtectorKind::kClearKey;
  if ((bits & kTpmBit) != 0 && (bits & ~(kTpmBit | kExternalBit | kPinBit)) == 0)
    return ProtectorKind::kTpm;
  if (bits == kExternalBit) return ProtectorKind::kExternalKey;
  if (bits == kRecoveryBit) return ProtectorKind::kRecoveryPassword;
  if (bits == kSmartCardBit) return ProtectorKind::kSmartCard;
  if (bits == kPassphraseBit) return ProtectorKind::kPassphrase;
  return ProtectorKind::kUnknown;
}

std::string kind_text(const BitlockerProtector& protector) {
  switch (protector.kind) {
    case ProtectorKind::kClearKey:
      return "clear key";
    case ProtectorKind::kTpm: {
      std::string text = "TPM";
      if ((protector.code & kPinBit) != 0) text += " and PIN";
      if ((protector.code & kExternalBit) != 0) text += " and startup key";
      return text;
    }
    case ProtectorKind::kExternalKey:
      return "external key";
    case ProtectorKind::kRecoveryPassword:
      return "recovery password";
    case ProtectorKind::kSmartCard:
      return "smart card or certificate";
    case ProtectorKind::kPassphrase:
      return "passphrase";
    case ProtectorKind::kUnknown:
      break;
  }
  return fmt::format("unknown kind {:#06x}", protector.code);
}

bool is_stretched(ProtectorKind kind) {
  return kind == ProtectorKind::kRecoveryPassword || kind == ProtectorKind::kPassphrase;
}

std::string why_unusable(const BitlockerProtector& protector) {
  switch (protector.kind) {
    case ProtectorKind::kTpm:
      return "only the TPM of its computer can open it";
    case ProtectorKind::kSmartCard:
      return "smart cards and certificates are not supported";
    case ProtectorKind::kUnknown:
      return "this kind of protector is not known";
    default:
      break;
  }
  if (protector.sealed_vmk.empty()) return "it holds no volume key";
  if (protector.kind == ProtectorKind::kClearKey && protector.clear_key.empty())
    return "its key is gone";
  if (is_stretched(protector.kind)) {
    if (protector.salt.empty()) return "the salt of its key derivation is gone";
    if ((protector.stretch_flags & (kEnhancedCrypto | kPbkdf2)) != 0) {
      return fmt::format("its key derivation (flags {:#x}) is not supported",
                         protector.stretch_flags);
    }
  }
  return {};
}

std::vector<SecretKind> secrets_for(ProtectorKind kind) {
  switch (kind) {
    case ProtectorKind::kExternalKey:
      return {SecretKind::kExternalKey};
    case ProtectorKind::kRecoveryPassword:
      return {SecretKind::kRecoveryPassword};
    case ProtectorKind::kPassphrase:
      return {SecretKind::kPassphrase};
    default:
      return {};
  }
}

std::string matches(const BitlockerProtector& protector, const std::string& id) {
  if (protector.kind == ProtectorKind::kExternalKey) {
    return fmt::format("file {}.BEK, or the vault secret {}", id, id);
  }
  if (protector.kind == ProtectorKind::kRecoveryPassword) return "recovery key ID " + id;
  return {};
}

// The key that is stretched, or used as it is.
Result<SecretBytes> key_for(const BitlockerProtector& protector, const Secret& secret) {
  const Bytes given = secret.bytes.span();
  if (protector.kind == ProtectorKind::kClearKey) return SecretBytes::copy_of(protector.clear_key);
  if (protector.kind == ProtectorKind::kExternalKey) return SecretBytes::copy_of(given);
  if (protector.kind == ProtectorKind::kRecoveryPassword) {
    auto key = parse_recovery_password({reinterpret_cast<const char*>(given.data()), given.size()});
    if (!key) return key;
    auto hash = recovery_password_hash(key->span());
    if (!hash) return hash;
    return stretch_key(hash->span(), protector.salt);
  }
  auto hash = passphrase_hash(given);
  if (!hash) return hash;
  return stretch_key(hash->span(), protector.salt);
}

}  // namespace

std::vector<BitlockerProtector> read_bitlocker_protectors(const BitlockerMetadata& metadata) {
  std::vector<BitlockerProtector> protectors;
  for (const Datum& datum : metadata.datums) {
    if (datum.role != DatumRole::kVmk || datum.type != DatumType::kVmk) continue;
    BitlockerProtector protector;
    protector.datum = &datum;
    protector.code = load_le<std::uint16_t>(datum.payload, kKindAt);
    protector.kind = kind_of(protector.code);
    // Those below a stretch or use-key entry are sealed the other way round: under the VMK.
    if (const Datum* sealed = datum.child(DatumType::kAesCcm)) {
      protector.sealed_vmk = sealed->payload;
    }
    if (const Datum* key = datum.child(DatumType::kKey);
        key != nullptr && key->payload.size() == 4 + kBitlockerKeyBytes) {
      protector.clear_key = key->payload.subspan(4);
    }
    if (const Datum* stretch = datum.child(DatumType::kStretchKey)) {
      protector.stretch_flags = load_le<std::uint16_t>(stretch->payload, 2);
      protector.salt = stretch->payload.subspan(kSaltAt, kSaltBytes);
    }
    protectors.push_back(protector);
  }
  return protectors;
}

Protector describe_bitlocker_protector(const BitlockerProtector& protector, unsigned number) {
  Protector out;
  out.number = number;
  out.label = fmt::format("protector {}", number);
  out.description = kind_text(protector);
  if (const Datum* name = protector.datum->child(DatumType::kText)) {
    const std::string text = datum_text(*name);
    if (!text.empty()) out.description += fmt::format(" \"{}\"", text);
  }
  out.takes = secrets_for(protector.kind);
  out.unusable = why_unusable(protector);
  out.needs_secret = protector.kind != ProtectorKind::kClearKey;
  out.id = engine::guid_text(protector.datum->payload, 0);
  std::transform(out.id.begin(), out.id.end(), out.id.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  out.created = filetime_text(load_le<std::uint64_t>(protector.datum->payload, kFiletimeAt));
  out.matches = matches(protector, out.id);
  return out;
}

Result<SecretBytes> open_bitlocker_protector(const BitlockerProtector& protector,
                                             const Secret& secret) {
  auto key = key_for(protector, secret);
  if (!key) return key;
  auto vmk = unseal_key(protector.sealed_vmk, key->span());
  if (!vmk) return std::move(vmk).error();
  if (!*vmk) return Error(ErrorCode::kWrongKey, "the key does not fit");
  if ((*vmk)->key.size() != kBitlockerKeyBytes) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("it opens a key of {} bytes, not a volume's", (*vmk)->key.size()));
  }
  return std::move((*vmk)->key);
}

Result<SecretBytes> stored_recovery_key(const BitlockerProtector& protector, Bytes vmk) {
  const Datum* stretch = protector.datum->child(DatumType::kStretchKey);
  if (protector.kind != ProtectorKind::kRecoveryPassword || stretch == nullptr) {
    return Error(ErrorCode::kNotSupported, "it keeps no recovery password");
  }
  for (const Datum& datum : stretch->children) {
    if (datum.type != DatumType::kAesCcm) continue;
    auto key = unseal_key(datum.payload, vmk);
    if (!key) return std::move(key).error();
    if (*key && (*key)->key.size() == kRecoveryKeyBytes) return std::move((*key)->key);
  }
  return Error(ErrorCode::kDamaged, "the recovery password it keeps does not open");
}

}  // namespace latchkey::keyslots
