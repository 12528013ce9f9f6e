#include "keyslots/keys/unknown_key.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "keyslots/keys/base64.h"
#include "keyslots/keys/found_key.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kLeastDecodedBytes = 24;  // shorter passphrases may look like base64, too

bool has_size_of_a_key(std::size_t size) {
  constexpr std::size_t kSizes[] = {16, 32, 48, 64, 66};  // 66: an FVEK with its method before it
  return std::find(std::begin(kSizes), std::end(kSizes), size) != std::end(kSizes);
}

// The readings of one key, none of them twice.
class Readings {
 public:
  void add(SecretKind kind, Bytes bytes, std::string label, const std::string& protector_id = {}) {
    const bool known = std::any_of(secrets_.begin(), secrets_.end(), [&](const Secret& other) {
      return other.kind == kind && other.bytes.equals(bytes);
    });
    if (known || bytes.empty() || secrets_.size() >= kMaxReadings) return;
    secrets_.push_back({kind, SecretBytes::copy_of(bytes), std::move(label), protector_id});
  }
  // Text is a passphrase; other bytes are a key file, which BitLocker does not take for text.
  void add_bytes(Bytes bytes, std::string label) {
    add(is_utf8(bytes) ? SecretKind::kPassphrase : SecretKind::kKeyFile, bytes, std::move(label));
  }
  void move_to(std::vector<Secret>& out) && {
    for (Secret& secret : secrets_) out.push_back(std::move(secret));
  }

 private:
  std::vector<Secret> secrets_;
};

struct Base {
  SecretBytes bytes;
  std::string label;
};

std::optional<SecretBytes> decoded_from_base64(Bytes text) {
  const Bytes inner = trimmed(text);
  if (inner.size() < kLeastDecodedBytes || !is_plain_text(inner)) return std::nullopt;
  auto decoded = decode_base64_secret(inner);
  if (!decoded || decoded->size() < kLeastDecodedBytes) return std::nullopt;
  return std::move(*decoded);
}

// Each without a line end, then with one: both have been used as Linux passphrases.
void add_passphrases(const std::vector<Base>& bases, Readings& readings) {
  for (const Base& base : bases) {
    readings.add_bytes(without_line_end(base.bytes.span()), base.label);
  }
  for (const Base& base : bases) {
    if (!is_plain_text(base.bytes.span())) continue;
    const Bytes line = without_line_end(base.bytes.span());
    SecretBytes ended(line.size() + 1);
    std::memcpy(ended.data(), line.data(), line.size());
    ended.data()[line.size()] = std::byte{'\n'};
    readings.add(SecretKind::kKeyFile, ended.span(), base.label + ", with a line end");
  }
}

// A BEK or, if it is none, the passphrases it may stand for: itself and what base64 in it does.
Result<void> add_content(Bytes content, const std::string& label, Readings& readings) {
  if (looks_like_bek(content)) {
    auto bek = parse_bek(content);
    if (!bek) return std::move(bek).error();
    readings.add(SecretKind::kExternalKey, bek->key.span(),
                 fmt::format("BEK {} in {}", bek->protector_id, label), bek->protector_id);
    return {};
  }
  if (has_size_of_a_key(content.size()) && !is_plain_text(content)) {
    readings.add(SecretKind::kRawKey, content, label + ", as a raw key");
  }
  std::vector<Base> bases;
  bases.push_back({SecretBytes::copy_of(content), label});
  if (auto inside = decoded_from_base64(content)) {
    bases.push_back({std::move(*inside), label + ", decoded from base64 once more"});
  }
  add_passphrases(bases, readings);
  return {};
}

std::string title_of(const FoundKey& key) {
  const VaultSecret& secret = key.vault;
  if (secret.form == VaultSecret::Form::kUnwrapAnswer) return "the unwrapped key in " + key.from;
  if (!secret.name.empty()) return fmt::format("secret {} in {}", secret.name, key.from);
  if (!secret.volume.empty()) return fmt::format("the key of {} in {}", secret.volume, key.from);
  return key.from;
}

// The plain text that a vault holds in place of base64: what somebody stored by hand.
void add_plain_value(const VaultSecret& secret, const std::string& label, Readings& readings) {
  const Bytes value = secret.value.span();
  for (const RecoveryPassword& password : find_recovery_passwords(value)) {
    readings.add(SecretKind::kRecoveryPassword, password.digits.span(),
                 "recovery password in " + label, password.protector_id);
  }
  std::vector<Base> bases;
  bases.push_back({SecretBytes::copy_of(value), label + ", its value as it stands"});
  add_passphrases(bases, readings);
}

Result<void> read_plain_secret(const VaultSecret& secret, const std::string& label,
                               Readings& readings) {
  const bool names_bek = !secret.protector_id.empty();
  // Digits and dashes may well be base64, too.
  if (!find_recovery_passwords(secret.value.span()).empty()) {
    add_plain_value(secret, label, readings);
    return {};
  }
  const auto decoded = decode_base64_secret(secret.value.span());
  if (!decoded) {
    if (names_bek) {
      return Error(ErrorCode::kDamaged, fmt::format("{} is damaged: in its value, {}", label,
                                                    decoded.error().message()));
    }
    add_plain_value(secret, label, readings);
    return {};
  }
  if (looks_like_bek(decoded->span())) {
    if (auto added = add_content(decoded->span(), label, readings); !added) {
      return Error(added.error()).within(label);
    }
    return {};
  }
  if (names_bek && !is_plain_text(decoded->span())) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("{} names a BEK, but its {} bytes are none: altered, or wrapped by a "
                             "key it does not name",
                             label, decoded->size()));
  }
  std::vector<Base> bases;
  bases.push_back({SecretBytes::copy_of(decoded->span()), label + ", decoded from base64"});
  if (auto inside = decoded_from_base64(decoded->span())) {
    bases.push_back({std::move(*inside), label + ", decoded from base64 twice"});
  }
  bases.push_back({SecretBytes::copy_of(secret.value.span()), label + ", its value as it stands"});
  add_passphrases(bases, readings);
  return {};
}

Result<void> read_vault_secret(const FoundKey& key, const Unwrapping& unwrapping,
                               Readings& readings) {
  const VaultSecret& secret = key.vault;
  const std::string title = title_of(key);
  const auto decoded = decode_base64_secret(secret.value.span());
  const bool answer = secret.form == VaultSecret::Form::kUnwrapAnswer;
  const bool wrapped = decoded && !answer && is_wrapped(secret, decoded->span());
  if (secret.missing.empty() && !answer && !wrapped && !secret.raw &&
      !equal_ignoring_case(secret.content_type, "Wrapped BEK")) {
    return read_plain_secret(secret, title, readings);
  }
  auto content = content_of(secret, title, unwrapping);
  if (!content) return std::move(content).error();
  if (auto added = add_content(content->bytes.span(), title + content->how, readings); !added) {
    return Error(added.error()).within(title);
  }
  return {};
}

// Bytes of which nothing says that they are wrapped, but that may be. A KEK that does not fit is
// no reason to stop; what it said is worth hearing, though.
void try_to_unwrap(Bytes bytes, const FoundKey& key, const Unwrapping& unwrapping,
                   Readings& readings, std::vector<std::string>& left_out) {
  if (unwrapping.kek == nullptr) return;
  const bool aes = unwrapping.kek->modulus_bytes() == 0;
  if (aes ? bytes.size() < 24 || bytes.size() % 8 != 0 : !may_be_rsa_wrapped(bytes)) return;
  auto content = unwrap_secret(*unwrapping.kek, bytes, "");
  if (!content) {
    left_out.push_back(
        fmt::format("{} is not used as a wrapped key: {}", key.from, content.error().message()));
    return;
  }
  const std::string label = fmt::format("{}, unwrapped by {}", key.from, name_of(content->by));
  if (auto added = add_content(content->bytes.span(), label, readings); !added) {
    left_out.push_back(fmt::format("{}: {}", label, added.error().message()));
  }
}

void tell_slip(Bytes text, const std::string& from, std::vector<std::string>& left_out) {
  const std::string slip = slip_in_recovery_password(text);
  if (!slip.empty()) left_out.push_back(from + " is nearly a recovery password: " + slip);
}

Result<void> read_bytes(const FoundKey& key, const Unwrapping& unwrapping, Readings& readings,
                        std::vector<std::string>& left_out) {
  const Bytes whole = key.bytes.span();
  const Bytes text = key.text.span();
  tell_slip(text, key.from, left_out);
  auto decoded = decoded_from_base64(text);
  if (decoded && looks_like_bek(decoded->span())) {
    if (auto added = add_content(decoded->span(), key.from, readings); !added) {
      return Error(added.error()).within(key.from);
    }
    return {};
  }
  try_to_unwrap(decoded ? decoded->span() : whole, key, unwrapping, readings, left_out);
  if (auto raw = decode_hex(trimmed(text)); raw && has_size_of_a_key(raw->size())) {
    readings.add(SecretKind::kRawKey, raw->span(), key.from + ", as a key in hexadecimal");
  }
  if (has_size_of_a_key(whole.size())) {
    readings.add(SecretKind::kRawKey, whole, key.from + ", as a raw key");
  }
  // Text that ends in a line end is more likely a passphrase somebody saved with an editor.
  const Bytes line = without_line_end(text);
  const bool changed = line.size() != whole.size();
  if (is_utf8(line) && !line.empty()) {
    readings.add(SecretKind::kPassphrase, line,
                 key.from + (changed ? " without its line end" : ""));
  }
  readings.add(SecretKind::kKeyFile, whole, key.from);
  if (!decoded) return {};
  std::vector<Base> bases;
  if (auto inside = decoded_from_base64(decoded->span())) {
    bases.push_back({std::move(*inside), key.from + ", decoded from base64 twice"});
  }
  std::string once = key.from + ", decoded from base64";
  if (may_be_rsa_wrapped(decoded->span())) {
    once += fmt::format(" ({} bytes: as many as a wrapped key has)", decoded->size());
  }
  bases.insert(bases.begin(), Base{std::move(*decoded), std::move(once)});
  bases.push_back({SecretBytes::copy_of(line), key.from});
  add_passphrases(bases, readings);
  return {};
}

// A LUKS recovery passphrase has the same form.
void add_recovery_password(const FoundKey& key, Readings& readings,
                           std::vector<std::string>& left_out) {
  tell_slip(key.bytes.span(), key.from, left_out);
  const std::string label = "recovery password in " + key.from;
  readings.add(SecretKind::kRecoveryPassword, key.bytes.span(), label, key.protector_id);
  readings.add(SecretKind::kPassphrase, key.bytes.span(), label);
}

Error opaque_backup(const FoundKey& key) {
  const bool secret = key.backup_of == "secret";
  return Error(ErrorCode::kNotSupported,
               fmt::format("{} is a backup of a Key Vault {}: only Key Vault can read it", key.from,
                           key.backup_of))
      .with_hint(fmt::format(
          "put it back with `az keyvault {} restore --vault-name V --file FILE` (a vault of the "
          "same subscription and geography), then {}",
          secret ? "secret" : "key",
          secret ? "`latchkey key fetch SECRET-URL -o FILE`"
                 : "let it unwrap the secret: `latchkey key fetch SECRET-URL -o FILE`"));
}

Result<void> read_found_key(const FoundKey& key, const Unwrapping& unwrapping, ReadKey& read) {
  Readings readings;
  Result<void> done;
  switch (key.kind) {
    case FoundKey::Kind::kBek:
      readings.add(SecretKind::kExternalKey, key.bek.key.span(), "BEK " + key.from,
                   key.protector_id);
      break;
    case FoundKey::Kind::kVaultSecret:
      done = read_vault_secret(key, unwrapping, readings);
      break;
    case FoundKey::Kind::kRecoveryPassword:
      add_recovery_password(key, readings, read.left_out);
      break;
    case FoundKey::Kind::kVaultBackup:
      return opaque_backup(key);
    case FoundKey::Kind::kBytes:
      done = read_bytes(key, unwrapping, readings, read.left_out);
      break;
  }
  if (done) std::move(readings).move_to(read.secrets);
  return done;
}

Result<ReadKey> read_file(const std::string& path, const Unwrapping& unwrapping) {
  auto found = look_into_key_file(path);
  if (!found) return std::move(found).error();
  ReadKey read;
  std::optional<Error> first;
  for (const FoundKey& key : *found) {
    auto done = read_found_key(key, unwrapping, read);
    if (done) continue;
    read.left_out.push_back(done.error().message());
    if (!first) first = std::move(done).error();
  }
  if (read.secrets.empty() && first) {
    // The key that was unwrapped elsewhere comes from another file.
    const bool needless = first->code() == ErrorCode::kKeyNeeded && unwrapping.done_elsewhere;
    if (!needless) return std::move(*first);
    read.left_out.clear();
  }
  return read;
}

bool is_key_in_folder(const std::filesystem::path& path) {
  const std::string name = upper_case(path.filename().string());
  return name.ends_with(".BEK") || name.starts_with("LINUXPASSPHRASEFILENAME") ||
         (name.starts_with("BITLOCKER") && name.ends_with(".TXT"));
}

Result<ReadKey> read_folder(const std::string& path, const Unwrapping& unwrapping) {
  std::error_code failed;
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator entry(path, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    if (entry->is_regular_file(failed) && is_key_in_folder(entry->path())) {
      files.push_back(entry->path().string());
    }
    if (files.size() > kMaxFolderEntries) {
      return Error(ErrorCode::kUsage,
                   fmt::format("{} holds more than {} keys", path, kMaxFolderEntries));
    }
  }
  if (failed) return Error::system("cannot read " + path, failed.value());
  if (files.empty()) {
    return Error(ErrorCode::kUsage, path + " holds no .BEK file")
        .with_hint("on a BEK VOLUME they are hidden: ls -a; a key of another kind is named itself");
  }
  std::sort(files.begin(), files.end());
  ReadKey all;
  std::optional<Error> first;
  for (const std::string& file : files) {
    auto read = read_file(file, unwrapping);
    if (!read) {
      all.left_out.push_back(read.error().message());
      if (!first) first = std::move(read).error();
      continue;
    }
    const bool claims_bek = upper_case(file).ends_with(".BEK");
    const bool any_bek =
        std::any_of(read->secrets.begin(), read->secrets.end(),
                    [](const Secret& secret) { return secret.kind == SecretKind::kExternalKey; });
    if (claims_bek && !any_bek) {
      all.left_out.push_back(fmt::format("'{}' is no BEK file", file));
      continue;
    }
    for (Secret& secret : read->secrets) all.secrets.push_back(std::move(secret));
    for (std::string& why : read->left_out) all.left_out.push_back(std::move(why));
  }
  if (all.secrets.empty() && first) return std::move(*first);
  if (all.secrets.empty() && !all.left_out.empty()) {
    return Error(ErrorCode::kUsage, path + ": " + all.left_out.front())
        .with_hint("a BEK file has 156 to 224 bytes");
  }
  return all;
}

bool is_recovery_password(const std::string& text) {
  const Bytes bytes = engine::as_bytes(text);
  return !find_recovery_passwords(bytes).empty() || !slip_in_recovery_password(bytes).empty();
}

}  // namespace

std::vector<Secret> passphrase_readings(Secret passphrase) {
  std::vector<Secret> readings;
  auto passwords = find_recovery_passwords(passphrase.bytes.span());
  constexpr std::size_t kMostAround = 16;  // blanks and separators of one that was typed
  const bool alone =
      passwords.size() == 1 && passphrase.bytes.size() <= passwords[0].digits.size() + kMostAround;
  if (alone) {
    const std::string label =
        passphrase.label == "passphrase" ? "recovery password" : "recovery " + passphrase.label;
    // A LUKS recovery passphrase has the same form; typed with other separators, or none, it is
    // still the one that was printed, with dashes.
    if (!passwords[0].digits.equals(passphrase.bytes.span())) {
      readings.push_back({SecretKind::kPassphrase,
                          engine::SecretBytes::copy_of(passwords[0].digits.span()), label});
    }
    readings.insert(readings.begin(),
                    {SecretKind::kRecoveryPassword, std::move(passwords[0].digits), label});
  }
  readings.push_back(std::move(passphrase));
  return readings;
}

Result<ReadKey> read_unknown_key(const std::string& path, const Unwrapping& unwrapping) {
  std::error_code failed;
  const auto what = std::filesystem::status(path, failed);
  if (path != "-" && std::filesystem::is_directory(what)) return read_folder(path, unwrapping);
  if (path != "-" && !std::filesystem::exists(what) && is_recovery_password(path)) {
    // Not said again: what is typed there stays in the history of shells already.
    return Error(ErrorCode::kUsage, "a recovery password, where the name of a file belongs")
        .with_hint("leave the option out and type it when asked, or put it in a file");
  }
  return read_file(path, unwrapping);
}

}  // namespace latchkey::keyslots
