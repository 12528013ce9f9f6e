// latchkey key: what a key file is, keys out of a vault, and the recovery passwords of a volume.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "keyslots/keys/unknown_key.h"
#include "keyslots/unlock.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/image.h"
#include "tools/key_options.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct ShowOptions {
  std::string file;
  bool json = false;
};

std::string show_json(const std::vector<keyslots::KeyDescription>& keys) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const keyslots::KeyDescription& key : keys) {
    nlohmann::ordered_json one{{"what", key.what}, {"wrapped", key.wrapped}};
    if (!key.name.empty()) one["name"] = key.name;
    for (const auto& [name, text] : key.facts) {
      std::string member = name;
      for (char& c : member) c = c == ' ' ? '_' : c;
      one[member] = text;
    }
    list.push_back(std::move(one));
  }
  return nlohmann::ordered_json{{"keys", std::move(list)}}.dump(
             2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string show_text(const std::vector<keyslots::KeyDescription>& keys) {
  std::string text;
  for (const keyslots::KeyDescription& key : keys) {
    text += key.what + (key.name.empty() ? "" : " " + key.name) + "\n";
    for (const auto& [name, value] : key.facts) text += fmt::format("  {:15} {}\n", name, value);
    if (key.wrapped) text += fmt::format("  {:15} {}\n", "wrapped", "yes: --kek is needed");
  }
  return text;
}

int run_show(const ShowOptions& options) {
  const auto keys = keyslots::describe_key(options.file);
  if (!keys) return fail(keys.error());
  fmt::print("{}", options.json ? show_json(*keys) : show_text(*keys));
  return kDone;
}

void add_show(CLI::App& key, int& exit_status) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = key.add_subcommand("show", "say what a key file is; never the key");
  command->add_option("FILE", options->file, "the key file")->required()->type_name("");
  command->add_flag("--json", options->json, "the same facts for a program");
  command->callback([options, &exit_status] { exit_status = run_show(*options); });
}

struct RecoveryOptions {
  std::string image;
  std::optional<unsigned> partition;
  KeyOptions keys;
};

bool opens_by_itself(const Region* region) {
  const auto protectors = region->volume->header->protectors();
  return std::any_of(protectors.begin(), protectors.end(), [](const auto& protector) {
    return !protector.needs_secret && protector.unusable.empty();
  });
}

// The secrets that were given or, where none were and one is needed, what is typed.
Result<TypedKey> secrets_for(const RecoveryOptions& options,
                             const std::vector<const Region*>& volumes) {
  if (options.keys.any_secret()) {
    auto given = read_secrets(options.keys);
    if (!given) return std::move(given).error();
    return TypedKey{std::move(*given), ""};
  }
  if (std::all_of(volumes.begin(), volumes.end(), opens_by_itself)) return TypedKey();
  return ask_key("Passphrase for " + engine::printable(options.image) + ": ");
}

const keyslots::Protector* find_protector(const keyslots::VolumeHeader& header, unsigned number) {
  for (const keyslots::Protector& protector : header.protectors()) {
    if (protector.number == number) return &protector;
  }
  return nullptr;
}

// Straight from locked memory to standard output.
Result<std::size_t> print_stored(const keyslots::VolumeHeader& header,
                                 const keyslots::KeyRing& ring,
                                 const keyslots::UnlockOptions& unlock) {
  auto opened = keyslots::find_keys(header, ring, unlock);
  if (!opened) return std::move(opened).error();
  const auto stored = header.stored_secrets(opened->keys);
  if (!stored) return stored.error();
  std::size_t printed = 0;
  for (const keyslots::StoredSecret& one : *stored) {
    if (one.secret.kind != keyslots::SecretKind::kRecoveryPassword) continue;
    const keyslots::Protector* protector = find_protector(header, one.protector);
    fmt::print("{}  ", protector == nullptr ? "?" : protector->id);
    std::fwrite(one.secret.bytes.data(), 1, one.secret.bytes.size(), stdout);
    std::fputc('\n', stdout);
    ++printed;
  }
  return printed;
}

Result<void> print_recovery_passwords(const RecoveryOptions& options) {
  SurveyOptions survey;
  survey.partition = options.partition;
  survey.header_path = options.keys.header;
  const auto image = survey_image(options.image, survey);
  if (!image) return image.error();
  warn_all(image->notices);
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return unlock.error();
  std::vector<const Region*> volumes;
  for (const Region* region : image->encrypted()) {
    if (options.partition && region->number != *options.partition) continue;
    if (region->volume->header) volumes.push_back(region);
  }
  if (volumes.empty()) {
    return Error(ErrorCode::kRefused, options.image + " holds no encrypted volume that can be used")
        .with_hint("latchkey info shows what is in it");
  }
  const auto secrets = secrets_for(options, volumes);
  if (!secrets) return secrets.error();
  std::size_t printed = 0;
  std::optional<Error> first;
  for (const Region* region : volumes) {
    const auto count = print_stored(*region->volume->header, secrets->ring, *unlock);
    if (count) {
      printed += *count;
      continue;
    }
    Error error = Error(count.error()).within(region->name());
    if (volumes.size() > 1) warn(error.message());
    if (!first) first = std::move(error);
  }
  if (printed > 0) return {};
  if (first && first->code() == ErrorCode::kWrongKey) {
    tell_nothing_opened(*secrets, kPassphraseTries);
  }
  if (first) return std::move(*first);
  return Error(ErrorCode::kRefused, "the volume has no recovery password")
      .with_hint("latchkey info lists its protectors");
}

void add_recovery_password(CLI::App& key, int& exit_status) {
  auto options = std::make_shared<RecoveryOptions>();
  CLI::App* command = key.add_subcommand(
      "recovery-password", "print the recovery passwords of a BitLocker volume that a key opens");
  command->add_option("IMAGE", options->image, "the image file or block device")
      ->required()
      ->type_name("");
  command->add_option("--partition", options->partition, "the partition that is meant")
      ->type_name("N");
  add_key_options(*command, options->keys);
  command->callback([options, &exit_status] {
    const auto done = print_recovery_passwords(*options);
    exit_status = done ? static_cast<int>(kDone) : fail(done.error());
  });
}

}  // namespace

void add_key_command(CLI::App& app, int& exit_status) {
  CLI::App* key = app.add_subcommand("key", "the keys of a volume; key files, keys out of vaults");
  key->require_subcommand(1);
  add_show(*key, exit_status);
  add_key_fetch(*key, exit_status);
  add_recovery_password(*key, exit_status);
  add_key_slots(*key, exit_status);
}

}  // namespace latchkey::tools
