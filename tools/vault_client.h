// Key Vault by its REST interface (api-version in vault_url.h): a secret's bundle, and unwrapkey.
//
// One thread. The token goes to the secret's vault and to KEKs in the same cloud, nowhere else;
// redirects are not followed; only https, except to this machine. What libcurl sends and gets
// passes through memory of its own, which is not locked and not wiped.
//
// Errors: kRefused (the vault says no: 401, 403, 404, ...), kSystem (it cannot be reached, or has
// not answered sensibly after some retries), kUsage (an address that is none).
#pragma once

#include <functional>
#include <string>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/keys/vault_url.h"

namespace latchkey::tools {

class VaultClient {
 public:
  // `waits` is told how many seconds a retry waits and why, before it does.
  using Waits = std::function<void(unsigned seconds, const std::string& why)>;
  VaultClient(engine::SecretBytes token, Waits waits)
      : token_(std::move(token)), waits_(std::move(waits)) {}

  // The JSON bundle of a secret.
  engine::Result<engine::SecretBytes> get_secret(const keyslots::VaultUrl& secret);
  // The JSON answer; `value` is the secret's, in base64url as it is stored.
  engine::Result<engine::SecretBytes> unwrap_key(const keyslots::VaultUrl& kek,
                                                 const std::string& algorithm,
                                                 const std::string& value);

 private:
  engine::Result<engine::SecretBytes> request(const std::string& url, const std::string& body,
                                              const std::string& what);
  engine::SecretBytes token_;
  Waits waits_;
};

// May a token for `secret`'s vault be sent to `kek`'s? Only within one cloud: a KEK's address is
// text out of a tag that anybody may have written.
bool same_cloud(const keyslots::VaultUrl& secret, const keyslots::VaultUrl& kek);

// Where a token comes from: --token-file, else LATCHKEY_VAULT_TOKEN, else `az account
// get-access-token`, which is run for it. Errors: kUsage, kSystem, kKeyNeeded (none of them).
engine::Result<engine::SecretBytes> find_token(const std::string& token_file,
                                               const std::string& resource);

}  // namespace latchkey::tools
