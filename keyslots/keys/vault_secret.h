// Key Vault secrets as clients print and save them:
//   the bundle of the REST interface         {"value", "id", "contentType", "attributes", "tags"}
//   az keyvault secret show                  the same, with ISO dates
//   Get-AzKeyVaultSecret | ConvertTo-Json    "SecretValueText", "Attributes", "Tags", "Id"
//   the answer of unwrapkey or decrypt       {"kid", "value"}, {"kid", "result"}, {"RawResult"}
//   Azure Backup's vmencryption_config.json  {"OsDiskKeyAndSecretDetails": {"SecretData", ...}}
//   a list of any of them
//
// Pure, any thread. What is not a secret is in printable texts, bounded by the file's size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

struct VaultSecret {
  enum class Form {
    kSecret,        // a secret as the vault stores it
    kUnwrapAnswer,  // what the vault's unwrapkey gave: nothing is wrapped any more
    kBackup,        // out of Azure Backup's configuration
  };
  Form form = Form::kSecret;
  engine::SecretBytes value;  // base64 or, where `raw`, the bytes themselves
  bool raw = false;
  std::string missing;  // why there is no value; empty where there is one
  std::string hint;     // what to do about that
  std::string name;
  std::string url;
  std::string content_type;
  std::string file_name;     // tag DiskEncryptionKeyFileName
  std::string kek_url;       // tag DiskEncryptionKeyEncryptionKeyURL, or the answer's kid
  std::string algorithm;     // tag DiskEncryptionKeyEncryptionAlgorithm
  std::string machine;       // tag MachineName
  std::string volume;        // tag VolumeLetter, or the disk Azure Backup names
  std::string protector_id;  // the GUID in the file name or the name
  std::optional<std::int64_t> created;
};

// Every secret in a JSON text, the newest first. Empty: this is JSON of another kind, or none.
// Errors: kRefused (the vault's refusal was saved), kUsage (a list without values).
engine::Result<std::vector<VaultSecret>> parse_vault_secrets(engine::Bytes text);

// What a JSON text that is one string holds; nothing for other JSON.
std::optional<engine::SecretBytes> parse_json_string(engine::Bytes text);

// "&AzureKeyVaultKeyBackupV1.microsoft.com..." as such or in base64: the opaque copy that `az
// keyvault key backup` makes. "key", "secret" or "certificate"; empty for anything else.
std::string vault_backup_kind(engine::Bytes bytes);

}  // namespace latchkey::keyslots
