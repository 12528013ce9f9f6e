#include "keyslots/keys/vault_secret.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/secret_json.h"
#include "keyslots/keys/secret_text.h"
#include "keyslots/keys/times.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kMostSecrets = 1024;

std::optional<std::int64_t> time_member(const SecretJson& object, std::string_view name) {
  const SecretJson* found = member(object, name);
  if (found == nullptr) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  return parse_time(printable_member(object, name));
}

// The last part of ".../secrets/NAME/VERSION" before the version.
std::string name_in_url(std::string_view url) {
  constexpr std::string_view kPlace = "/secrets/";
  const std::size_t at = url.find(kPlace);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = url.substr(at + kPlace.size());
  return std::string(rest.substr(0, rest.find_first_of("/?")));
}

void read_tags(const SecretJson& object, VaultSecret& secret) {
  const SecretJson* tags = member(object, "tags");
  const SecretJson* attributes = member(object, "attributes");
  if ((tags == nullptr || !tags->is_object()) && attributes != nullptr) {
    tags = member(*attributes, "tags");
  }
  if (tags == nullptr) return;
  secret.file_name = printable_member(*tags, "DiskEncryptionKeyFileName");
  secret.kek_url = printable_member(*tags, "DiskEncryptionKeyEncryptionKeyURL");
  secret.algorithm = printable_member(*tags, "DiskEncryptionKeyEncryptionAlgorithm");
  secret.machine = printable_member(*tags, "MachineName");
  secret.volume = printable_member(*tags, "VolumeLetter");
}

void read_attributes(const SecretJson& object, VaultSecret& secret) {
  secret.created = time_member(object, "created");
  secret.content_type = printable_member(object, "contentType");
  const SecretJson* attributes = member(object, "attributes");
  if (attributes == nullptr) return;
  if (!secret.created) secret.created = time_member(*attributes, "created");
  if (secret.content_type.empty()) {
    secret.content_type = printable_member(*attributes, "contentType");
  }
}

void name_it(VaultSecret& secret) {
  if (secret.name.empty()) secret.name = name_in_url(secret.url);
  secret.protector_id = find_guid(secret.file_name);
  if (secret.protector_id.empty()) secret.protector_id = find_guid(secret.name);
}

void no_value(VaultSecret& secret, std::string why, std::string hint) {
  secret.missing = std::move(why);
  secret.hint = std::move(hint);
}

// PowerShell's SecureString has no text: ConvertTo-Json writes how long it is, or nothing.
VaultSecret read_secret(const SecretJson& object) {
  VaultSecret secret;
  secret.url = printable_member(object, "id");
  secret.name = printable_member(object, "name");
  read_attributes(object, secret);
  read_tags(object, secret);
  name_it(secret);
  for (const char* name : {"value", "SecretValueText", "SecretValue"}) {
    auto value = secret_member(object, name);
    if (!value || value->empty()) continue;
    secret.value = std::move(*value);
    return secret;
  }
  no_value(secret, "the secret's value is not in it: PowerShell prints no SecureString",
           "save it with `az keyvault secret show --id URL`, or with Get-AzKeyVaultSecret "
           "-VaultName V -Name N -AsPlainText");
  return secret;
}

std::optional<SecretBytes> bytes_of_array(const SecretJson* array) {
  if (array == nullptr || !array->is_array() || array->empty()) return std::nullopt;
  SecretBytes bytes(array->size());
  for (std::size_t i = 0; i < array->size(); ++i) {
    const SecretJson& one = (*array)[i];
    if (!one.is_number_unsigned() || one.get<std::uint64_t>() > 0xff) return std::nullopt;
    bytes.data()[i] = static_cast<std::byte>(one.get<std::uint64_t>());
  }
  return bytes;
}

// What unwrapkey (REST), `az keyvault key decrypt` or Invoke-AzKeyVaultKeyOperation answered.
std::optional<VaultSecret> read_unwrap_answer(const SecretJson& object) {
  VaultSecret answer;
  answer.form = VaultSecret::Form::kUnwrapAnswer;
  answer.kek_url = printable_member(object, "kid");
  if (answer.kek_url.empty()) answer.kek_url = printable_member(object, "KeyId");
  if (answer.kek_url.find("/keys/") == std::string::npos) return std::nullopt;
  answer.algorithm = printable_member(object, "algorithm");
  if (auto bytes = bytes_of_array(member(object, "RawResult"))) {
    answer.value = std::move(*bytes);
    answer.raw = true;
    return answer;
  }
  for (const char* name : {"value", "result"}) {
    auto value = secret_member(object, name);
    if (!value || value->empty()) continue;
    answer.value = std::move(*value);
    return answer;
  }
  return std::nullopt;
}

VaultSecret read_backup(const SecretJson& object, std::string_view disk) {
  VaultSecret secret;
  secret.form = VaultSecret::Form::kBackup;
  secret.volume = engine::printable(disk);
  secret.url = printable_member(object, "SecretUrl");
  secret.kek_url = printable_member(object, "KeyUrl");
  secret.algorithm = printable_member(object, "KeyEncryptionAlgorithm");
  name_it(secret);
  if (auto value = secret_member(object, "SecretData"); value && !value->empty()) {
    secret.value = std::move(*value);
    return secret;
  }
  const auto opaque = secret_member(object, "KeyVaultSecretBackupData");
  if (opaque && !opaque->empty()) {
    no_value(secret, "Azure Backup kept its secret in a form that only Key Vault can read",
             "write KeyVaultSecretBackupData, decoded from base64, to a file, put it back with `az "
             "keyvault secret restore --vault-name V --file FILE` (a vault of the same "
             "subscription and geography), then `latchkey key fetch`");
  } else {
    no_value(secret, "no secret is in it", "the secret may still be in the vault: " + secret.url);
  }
  return secret;
}

bool is_backup_entry(const SecretJson& object) {
  return object.is_object() && (member(object, "SecretData") != nullptr ||
                                member(object, "KeyVaultSecretBackupData") != nullptr);
}

// Azure Backup names the disks; how the data disks' list is shaped is not documented, so the
// entries are found by what is in them. The parser has bounded the depth.
void collect_backups(const SecretJson& json, std::string_view disk,
                     std::vector<VaultSecret>& secrets) {
  if (secrets.size() >= kMostSecrets) return;
  if (is_backup_entry(json)) {
    secrets.push_back(read_backup(json, disk));
    return;
  }
  if (json.is_array()) {
    for (const SecretJson& one : json) collect_backups(one, disk, secrets);
  } else if (json.is_object()) {
    for (auto entry = json.begin(); entry != json.end(); ++entry) {
      collect_backups(entry.value(), std::string_view(entry.key()), secrets);
    }
  }
}

bool is_secret(const SecretJson& object) {
  if (member(object, "SecretValue") != nullptr || member(object, "SecretValueText") != nullptr) {
    return true;
  }
  const SecretJson* value = member(object, "value");
  return value != nullptr && value->is_string();
}

// {"error": {"code": "Forbidden", "message": ...}}: somebody saved the refusal.
std::optional<Error> saved_refusal(const SecretJson& json) {
  const SecretJson* error = member(json, "error");
  if (error == nullptr || !error->is_object()) return std::nullopt;
  return Error(ErrorCode::kRefused, fmt::format("it is a refusal of the vault, not a secret: {}",
                                                printable_member(*error, "message")))
      .with_hint("fetch the secret again with an account that may read it");
}

Result<void> collect(const SecretJson& json, std::vector<VaultSecret>& secrets) {
  if (secrets.size() >= kMostSecrets) return {};
  if (json.is_array()) {
    for (const SecretJson& one : json) {
      if (auto done = collect(one, secrets); !done) return done;
    }
    return {};
  }
  if (!json.is_object()) return {};
  if (auto refusal = saved_refusal(json)) return std::move(*refusal);
  if (auto answer = read_unwrap_answer(json)) {
    secrets.push_back(std::move(*answer));
  } else if (is_secret(json)) {
    secrets.push_back(read_secret(json));
  } else if (const SecretJson* list = member(json, "value"); list != nullptr && list->is_array()) {
    return collect(*list, secrets);
  } else if (printable_member(json, "id").find("/secrets/") != std::string::npos) {
    return Error(ErrorCode::kUsage, "it lists secrets without their values")
        .with_hint("save each with `az keyvault secret show --id URL`");
  } else {
    collect_backups(json, "", secrets);
  }
  return {};
}

}  // namespace

Result<std::vector<VaultSecret>> parse_vault_secrets(Bytes text) {
  std::vector<VaultSecret> secrets;
  const auto json = parse_secret_json(text);
  if (!json) return secrets;
  if (auto done = collect(*json, secrets); !done) return std::move(done).error();
  // Of two secrets for one volume the newer is the live one.
  std::stable_sort(secrets.begin(), secrets.end(), [](const VaultSecret& a, const VaultSecret& b) {
    return a.created.value_or(0) > b.created.value_or(0);
  });
  return secrets;
}

std::optional<SecretBytes> parse_json_string(Bytes text) {
  const Bytes inner = trimmed(text);
  if (inner.size() < 2 || inner.front() != std::byte{'"'}) return std::nullopt;
  const auto json = parse_secret_json(inner);
  if (!json || !json->is_string()) return std::nullopt;
  return SecretBytes::copy_of(
      engine::as_bytes(std::string_view(json->get_ref<const WipedString&>())));
}

std::string vault_backup_kind(Bytes bytes) {
  constexpr std::string_view kMark = "&AzureKeyVault";
  constexpr std::size_t kHeadBytes = 128;
  const Bytes head = trimmed(bytes).first(std::min(trimmed(bytes).size(), kHeadBytes));
  SecretBytes decoded;
  std::string_view text = as_text(head);
  if (!engine::starts_with(head, 0, kMark)) {
    if (!engine::starts_with(head, 0, "JkF6dXJlS2V5VmF1bHR")) return {};  // the mark in base64
    auto inner = decode_base64_secret(head.first(head.size() / 4 * 4));
    // Cut short it may stop within the mark.
    if (!inner || !engine::starts_with(inner->span(), 0, kMark)) return {};
    decoded = std::move(*inner);
    text = as_text(decoded.span());
  }
  const std::string_view rest = text.substr(kMark.size());
  for (const auto& [name, kind] : {std::pair{"KeyBackup", "key"}, {"SecretBackup", "secret"}}) {
    if (rest.starts_with(name)) return kind;
  }
  return rest.starts_with("CertificateBackup") ? "certificate" : "key or secret";
}

}  // namespace latchkey::keyslots
