#include "keyslots/keys/found_key.h"

#include <utility>

#include "keyslots/keys/key_file.h"
#include "keyslots/keys/key_wrap.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr const char* kFetchAgain =
    "fetch or copy it again: `az keyvault secret show --id URL > secret.json`";

bool is_json_like(Bytes text) {
  const Bytes inner = trimmed(text);
  return !inner.empty() && (inner.front() == std::byte{'{'} || inner.front() == std::byte{'['});
}

// A vault's JSON that no longer is any.
bool is_broken_vault_json(Bytes text) {
  const std::string_view view = as_text(text);
  for (const char* name : {"\"value\"", "SecretValue", "SecretData", "DiskEncryptionKey"}) {
    if (view.find(name) != std::string_view::npos) return true;
  }
  return false;
}

Result<std::vector<FoundKey>> look_into_json(Bytes text, const std::string& from) {
  std::vector<FoundKey> found;
  auto secrets = parse_vault_secrets(text);
  if (!secrets) return std::move(secrets).error().within(from);
  for (VaultSecret& secret : *secrets) {
    FoundKey one{.kind = FoundKey::Kind::kVaultSecret, .from = from};
    one.backup_of = secret.raw ? "" : vault_backup_kind(secret.value.span());
    if (!one.backup_of.empty()) one.kind = FoundKey::Kind::kVaultBackup;
    one.protector_id = secret.protector_id;
    one.vault = std::move(secret);
    found.push_back(std::move(one));
  }
  if (found.empty() && is_broken_vault_json(text)) {
    return Error(ErrorCode::kDamaged,
                 from +
                     " looks like a secret out of Key Vault, but is not whole JSON: it is cut "
                     "short or altered")
        .with_hint(kFetchAgain);
  }
  return found;
}

Result<FoundKey> look_into_bek(Bytes bytes, const std::string& from) {
  auto bek = parse_bek(bytes);
  if (!bek) {
    return std::move(bek).error().within(from).with_hint(
        "copy the file again from where it is kept; it is 156 to 224 bytes long");
  }
  FoundKey found{.kind = FoundKey::Kind::kBek, .from = from};
  found.protector_id = bek->protector_id;
  found.bek = std::move(*bek);
  found.bek_bytes = bytes.size();
  return found;
}

}  // namespace

Result<std::vector<FoundKey>> look_into_key_bytes(SecretBytes whole, const std::string& from) {
  std::vector<FoundKey> found;
  if (looks_like_bek(whole.span())) {
    auto bek = look_into_bek(whole.span(), from);
    if (!bek) return std::move(bek).error();
    found.push_back(std::move(*bek));
    return found;
  }
  auto marked = text_behind_mark(whole.span());
  SecretBytes text = marked ? std::move(*marked) : SecretBytes::copy_of(whole.span());
  if (auto inner = parse_json_string(text.span())) text = std::move(*inner);
  if (is_json_like(text.span())) {
    auto secrets = look_into_json(text.span(), from);
    if (!secrets || !secrets->empty()) return secrets;
  }
  if (const std::string kind = vault_backup_kind(text.span()); !kind.empty()) {
    found.push_back({.kind = FoundKey::Kind::kVaultBackup, .from = from, .backup_of = kind});
    return found;
  }
  if (is_utf8(text.span())) {
    for (RecoveryPassword& password : find_recovery_passwords(text.span())) {
      found.push_back({.kind = FoundKey::Kind::kRecoveryPassword,
                       .from = from,
                       .protector_id = std::move(password.protector_id),
                       .bytes = std::move(password.digits)});
    }
  }
  found.push_back({.kind = FoundKey::Kind::kBytes,
                   .from = from,
                   .bytes = std::move(whole),
                   .text = std::move(text)});
  return found;
}

Result<std::vector<FoundKey>> look_into_key_file(const std::string& path) {
  auto whole = read_key_file(path);
  if (!whole) return std::move(whole).error();
  return look_into_key_bytes(std::move(whole->bytes), "'" + path + "'");
}

bool may_be_rsa_wrapped(Bytes bytes) noexcept {
  const bool size_fits = bytes.size() == 256 || bytes.size() == 384 || bytes.size() == 512;
  return size_fits && !is_plain_text(bytes);
}

bool may_be_sent_to_vault(const VaultSecret& secret, Bytes decoded) {
  constexpr std::size_t kLeastAesBytes = 24;
  if (!is_wrapped(secret, decoded)) return false;
  if (wrap_algorithm(secret.algorithm) != WrapAlgorithm::kAesKeyWrap) {
    return may_be_rsa_wrapped(decoded);
  }
  return decoded.size() >= kLeastAesBytes && decoded.size() % 8 == 0;
}

bool is_wrapped(const VaultSecret& secret, Bytes decoded) {
  if (secret.form == VaultSecret::Form::kUnwrapAnswer || looks_like_bek(decoded) ||
      is_plain_text(decoded)) {
    return false;
  }
  if (equal_ignoring_case(secret.content_type, "Wrapped BEK")) return true;
  // "BEK", and yet not one: of a Linux passphrase that is true, of an RSA block it is a mistake.
  if (equal_ignoring_case(secret.content_type, "BEK")) return may_be_rsa_wrapped(decoded);
  return !secret.kek_url.empty() || may_be_rsa_wrapped(decoded);
}

}  // namespace latchkey::keyslots
