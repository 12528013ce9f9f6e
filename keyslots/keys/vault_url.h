// Addresses in a Key Vault or a managed HSM: https://V.vault.azure.net/secrets/NAME/VERSION. Pure,
// any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace latchkey::keyslots {

inline constexpr const char* kVaultApiVersion = "7.4";

struct VaultUrl {
  std::string scheme;      // "https", "http"
  std::string host;        // lower case
  std::string port;        // empty: the scheme's own
  std::string collection;  // "secrets", "keys"
  std::string name;
  std::string version;  // may be empty: the newest

  bool is_loopback() const;
  // The part of the host behind the vault's name: "vault.azure.net".
  std::string_view domain() const;
  std::string text() const;  // without query
};

// Nothing where it is no such address, or has characters in it that no such address has.
std::optional<VaultUrl> parse_vault_url(std::string_view text);

// Whom a token has to be for: "https://vault.azure.net", or a sovereign cloud's or managed HSM's.
std::string token_resource(const VaultUrl& url);

}  // namespace latchkey::keyslots
