#include <algorithm>

#include <fmt/format.h>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/found_key.h"
#include "keyslots/keys/secret_text.h"
#include "keyslots/keys/times.h"
#include "keyslots/keys/unknown_key.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Result;

namespace {

void fact(KeyDescription& about, const char* name, std::string text) {
  if (!text.empty()) about.facts.emplace_back(name, std::move(text));
}

void describe_bek(const BekFile& bek, std::size_t bytes, KeyDescription& about) {
  fact(about, "holds", fmt::format("a BEK of {} bytes: {}", bytes, bek.description));
  fact(about, "protector", bek.protector_id);
  fact(about, "volume", bek.volume_id);
  fact(about, "key created", bek.created);
}

std::string wrapped_size(std::size_t bytes) {
  const bool rsa = bytes == 256 || bytes == 384 || bytes == 512;
  return rsa ? fmt::format("a wrapped key of {} bytes: the KEK has RSA-{}", bytes, bytes * 8)
             : fmt::format("a wrapped key of {} bytes", bytes);
}

void describe_value(const VaultSecret& secret, KeyDescription& about) {
  if (!secret.missing.empty()) return fact(about, "holds", secret.missing);
  const auto decoded =
      secret.raw ? Result<engine::SecretBytes>(engine::SecretBytes::copy_of(secret.value.span()))
                 : decode_base64_secret(secret.value.span());
  if (!decoded) {
    const bool should_be = !secret.protector_id.empty() || !secret.kek_url.empty();
    return fact(about, "holds",
                should_be ? "a damaged value: " + decoded.error().message()
                          : fmt::format("a text of {} characters", secret.value.size()));
  }
  about.wrapped = is_wrapped(secret, decoded->span());
  if (about.wrapped) return fact(about, "holds", wrapped_size(decoded->size()));
  if (const auto bek = parse_bek(decoded->span())) {
    return describe_bek(*bek, decoded->size(), about);
  }
  if (looks_like_bek(decoded->span())) {
    return fact(about, "holds", "a damaged " + parse_bek(decoded->span()).error().message());
  }
  if (is_plain_text(decoded->span())) {
    fact(about, "holds",
         fmt::format("a text of {} characters, as a Linux passphrase", decoded->size()));
  } else {
    fact(about, "holds", fmt::format("{} bytes, neither a BEK nor text", decoded->size()));
  }
}

void describe_secret(const VaultSecret& secret, KeyDescription& about) {
  about.name = secret.name;
  switch (secret.form) {
    case VaultSecret::Form::kSecret:
      about.what = "Key Vault secret";
      break;
    case VaultSecret::Form::kUnwrapAnswer:
      about.what = "answer of a vault's unwrapkey";
      break;
    case VaultSecret::Form::kBackup:
      about.what = "Azure Backup's copy of a Key Vault secret";
      break;
  }
  describe_value(secret, about);
  if (!about.wrapped) {
    const bool told = std::any_of(about.facts.begin(), about.facts.end(),
                                  [](const auto& known) { return known.first == "protector"; });
    if (!told) fact(about, "protector", secret.protector_id);
  } else {
    fact(about, "protector", secret.protector_id);
  }
  fact(about, "content type", secret.content_type);
  fact(about, "file name", secret.file_name);
  fact(about, "secret created", secret.created ? time_text(*secret.created) : "");
  fact(about, "secret url", secret.url);
  fact(about, "kek url", secret.kek_url);
  fact(about, "algorithm", secret.algorithm);
  fact(about, "machine", secret.machine);
  fact(about, secret.form == VaultSecret::Form::kBackup ? "disk" : "drive", secret.volume);
}

std::string kind_of_bytes(Bytes whole, Bytes text) {
  const std::string_view view = as_text(text);
  if (view.find("PRIVATE KEY-----") != std::string_view::npos) {
    return "private key (to unwrap a secret with it: --kek)";
  }
  if (const auto hex = decode_hex(trimmed(text)); hex && hex->size() >= 16) {
    return fmt::format("{} bytes in hexadecimal", hex->size());
  }
  return is_utf8(text) ? "text" : fmt::format("{} bytes of no known form", whole.size());
}

void describe_bytes(const FoundKey& key, KeyDescription& about) {
  const Bytes text = trimmed(key.text.span());
  const auto decoded = decode_base64_secret(text);
  const bool base64 = decoded && decoded->size() >= 24 && is_plain_text(text);
  const auto bek = base64 ? parse_bek(decoded->span()) : parse_bek({});
  if (bek) {
    about.what = "BEK file in base64";
    return describe_bek(*bek, decoded->size(), about);
  }
  about.what = kind_of_bytes(key.bytes.span(), text);
  fact(about, "size", fmt::format("{} bytes", key.bytes.size()));
  if (!base64 || about.what != "text") return;
  fact(about, "holds",
       may_be_rsa_wrapped(decoded->span())
           ? "base64 of what may be " + wrapped_size(decoded->size())
           : fmt::format("base64 of {} bytes{}", decoded->size(),
                         is_plain_text(decoded->span()) ? " of text, as a Linux passphrase" : ""));
}

}  // namespace

Result<std::vector<KeyDescription>> describe_key(const std::string& path) {
  auto found = look_into_key_file(path);
  if (!found) return std::move(found).error();
  std::vector<KeyDescription> all;
  for (const FoundKey& key : *found) {
    KeyDescription about;
    switch (key.kind) {
      case FoundKey::Kind::kBek:
        about.what = "BEK file";
        describe_bek(key.bek, key.bek_bytes, about);
        break;
      case FoundKey::Kind::kVaultSecret:
        describe_secret(key.vault, about);
        break;
      case FoundKey::Kind::kRecoveryPassword:
        about.what = "BitLocker recovery password";
        fact(about, "protector", key.protector_id);
        break;
      case FoundKey::Kind::kVaultBackup:
        about.what =
            fmt::format("backup of a Key Vault {}: only Key Vault can read it", key.backup_of);
        break;
      case FoundKey::Kind::kBytes:
        if (found->size() > 1) continue;  // the text around recovery passwords
        describe_bytes(key, about);
        break;
    }
    all.push_back(std::move(about));
  }
  return all;
}

}  // namespace latchkey::keyslots
