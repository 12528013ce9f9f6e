#include "keyslots/keys/vault_content.h"

#include <fmt/format.h>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/found_key.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"
#include "keyslots/keys/vault_url.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

// The call that makes the vault unwrap the secret, ready to be pasted into a shell.
std::string unwrap_call(const VaultSecret& secret, Bytes value) {
  std::string text;
  for (const char c : as_text(value)) {
    if (c == '+') text += '-';
    if (c == '/') text += '_';
    if (std::string_view("+/= \t\r\n").find(c) == std::string_view::npos) text += c;
  }
  const auto url = parse_vault_url(secret.kek_url);
  const auto algorithm = wrap_algorithm(secret.algorithm);
  return fmt::format(
      "az rest --method post --url '{}/unwrapkey?api-version={}' --resource {} --headers "
      "Content-Type=application/json --body '{{\"alg\":\"{}\",\"value\":\"{}\"}}' > unwrapped.json",
      url ? url->text() : "KEK-URL", kVaultApiVersion,
      url ? token_resource(*url) : "https://vault.azure.net",
      algorithm ? secret.algorithm : name_of(WrapAlgorithm::kRsaOaep), text);
}

Error wrapped_without_kek(const VaultSecret& secret, Bytes decoded, const std::string& from) {
  const std::string kek = secret.kek_url.empty() ? "that it does not name" : secret.kek_url;
  std::string hint = "give that key's private half with --kek FILE (or --kek pkcs11:...)";
  if (may_be_sent_to_vault(secret, decoded)) {
    hint += ", or let the vault unwrap it and add --kek-unwrapped unwrapped.json: " +
            unwrap_call(secret, secret.value.span());
  }
  return Error(ErrorCode::kKeyNeeded,
               fmt::format("{} is wrapped with the key-encryption key {}", from, kek))
      .with_hint(hint);
}

// A recovery password or a passphrase that somebody stored by hand, as it stands.
bool is_base64_by_chance(const VaultSecret& secret, Bytes decoded) {
  if (!find_recovery_passwords(secret.value.span()).empty()) return true;
  const bool claims_base64 = !secret.content_type.empty() || !secret.protector_id.empty();
  return !claims_base64 && !looks_like_bek(decoded) && !is_plain_text(decoded);
}

}  // namespace

Result<SecretContent> content_of(const VaultSecret& secret, const std::string& from,
                                 const Unwrapping& unwrapping) {
  if (!secret.missing.empty()) {
    return Error(ErrorCode::kUsage, from + ": " + secret.missing).with_hint(secret.hint);
  }
  if (secret.raw) return SecretContent{SecretBytes::copy_of(secret.value.span()), ""};
  auto decoded = decode_base64_secret(secret.value.span());
  const bool answer = secret.form == VaultSecret::Form::kUnwrapAnswer;
  const bool says_wrapped = equal_ignoring_case(secret.content_type, "Wrapped BEK");
  if (!decoded) {
    if (answer || says_wrapped || !secret.kek_url.empty() || !secret.protector_id.empty()) {
      return Error(ErrorCode::kDamaged,
                   fmt::format("{} is damaged: in its value, {}", from, decoded.error().message()));
    }
    return SecretContent{SecretBytes::copy_of(secret.value.span()), ""};
  }
  if (answer || !is_wrapped(secret, decoded->span())) {
    if (!answer && is_base64_by_chance(secret, decoded->span())) {
      return SecretContent{SecretBytes::copy_of(secret.value.span()), ""};
    }
    return SecretContent{std::move(*decoded), answer ? "" : ", decoded from base64"};
  }
  if (unwrapping.kek == nullptr) return wrapped_without_kek(secret, decoded->span(), from);
  auto plain = unwrap_secret(*unwrapping.kek, decoded->span(), secret.algorithm);
  if (!plain) {
    std::string where = from;
    if (!secret.kek_url.empty()) where += fmt::format(" (wrapped with {})", secret.kek_url);
    return std::move(plain).error().within(where);
  }
  return SecretContent{std::move(plain->bytes),
                       fmt::format(", unwrapped by {}", name_of(plain->by))};
}

}  // namespace latchkey::keyslots
