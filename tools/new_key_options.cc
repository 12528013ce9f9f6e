#include "tools/new_key_options.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "keyslots/keys/key_file.h"
#include "keyslots/random.h"
#include "tools/key_options.h"
#include "tools/new_file.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using keyslots::Secret;

namespace {

constexpr const char* kGroup = "New key options";

Error usage(const std::string& what) {
  return {ErrorCode::kUsage, what};
}

Result<Secret> generate_key(const std::string& path) {
  constexpr std::size_t kKeyBytes = 32;
  auto key = keyslots::random_secret(kKeyBytes);
  if (!key) return std::move(key).error();
  if (auto done = write_new_file(path, key->span()); !done) {
    return std::move(done).error().within("--generate-key");
  }
  return Secret{keyslots::SecretKind::kKeyFile, std::move(*key), "key file '" + path + "'"};
}

Result<Secret> ask_twice(const std::string& prefix, const std::string& what) {
  const auto ask = [&](const std::string& prompt) -> Result<Secret> {
    auto typed = ask_passphrase(prompt);
    if (typed || typed.error().code() == ErrorCode::kUsage) return typed;
    return std::move(typed).error().with_hint(
        fmt::format("give the new key with {0}passphrase-file FILE or {0}key-file FILE", prefix));
  };
  auto first = ask("New passphrase for " + engine::printable(what) + ": ");
  if (!first) return first;
  auto second = ask("The same again: ");
  if (!second) return second;
  if (first->bytes.equals(second->bytes.span())) return first;
  return usage("the two passphrases differ: nothing was changed");
}

}  // namespace

void add_new_key_options(CLI::App& command, NewKeyOptions& options, const std::string& prefix) {
  const bool only = prefix == "--";
  auto* passphrase =
      command
          .add_option(prefix + "passphrase-file", options.passphrase_file,
                      std::string("the first line of FILE is the ") + (only ? "" : "new ") +
                          "passphrase; - is standard input\n(default: it is asked for, twice)")
          ->type_name("FILE")
          ->group(kGroup);
  auto* file =
      command
          .add_option(prefix + "key-file", options.key_file,
                      std::string("every byte of FILE is the ") + (only ? "" : "new ") + "key")
          ->type_name("FILE")
          ->group(kGroup)
          ->excludes(passphrase);
  command
      .add_option("--generate-key", options.generated,
                  "make FILE: a key of 256 bits from the kernel, mode 0600")
      ->type_name("FILE")
      ->group(kGroup)
      ->excludes(passphrase)
      ->excludes(file);
}

Result<Secret> read_new_key(const NewKeyOptions& options, const std::string& prefix,
                            const std::string& what) {
  if (!options.generated.empty()) return generate_key(options.generated);
  if (!options.passphrase_file.empty()) {
    auto secret = keyslots::read_passphrase_file(options.passphrase_file);
    if (!secret) return std::move(secret).error().within(prefix + "passphrase-file");
    return secret;
  }
  if (!options.key_file.empty()) {
    auto secret = keyslots::read_key_file(options.key_file);
    if (!secret) return std::move(secret).error().within(prefix + "key-file");
    return secret;
  }
  return ask_twice(prefix, what);
}

std::optional<double> parse_seconds(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  if (unit == "ms") return value / 1000;
  if (unit.empty() || unit == "s") return value;
  return std::nullopt;
}

void add_kdf_options(CLI::App& command, KdfOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* what, const char* text) {
    return command.add_option(name, value, what)->type_name(text)->group(kGroup);
  };
  add("--pbkdf", options.type, "argon2id (default), argon2i or pbkdf2", "KIND");
  command
      .add_option_function<std::string>(
          "--unlock-time",
          [&options](const std::string& text) {
            options.seconds = parse_seconds(text);
            if (!options.seconds || !(*options.seconds > 0) || *options.seconds > 300) {
              throw CLI::ValidationError("--unlock-time", "'" + text + "' is not like 2s or 500ms");
            }
          },
          "what opening with the new key should take on this machine,\n"
          "like 2s (default) or 500ms")
      ->type_name("TIME")
      ->group(kGroup);
  add("--pbkdf-iterations", options.iterations,
      "iterations, or passes of argon2; nothing is measured then", "N");
  add("--pbkdf-memory", options.memory, "most memory argon2 may take (default: 1G or half of RAM)",
      "SIZE");
  add("--pbkdf-parallel", options.lanes, "lanes of argon2 (default: processors, at most 4)", "N");
}

Result<keyslots::KdfWish> kdf_wish(const KdfOptions& options, const std::string& required_hash) {
  keyslots::KdfWish wish;
  if (!required_hash.empty()) {
    wish.type = "pbkdf2";
    wish.hash = required_hash;
    if (!options.type.empty() && options.type != "pbkdf2") {
      return usage("--pbkdf: luks1 knows no key derivation but pbkdf2");
    }
  } else if (!options.type.empty()) {
    wish.type = options.type;
  }
  const bool argon = wish.type != "pbkdf2";
  if (!argon && (!options.memory.empty() || options.lanes)) {
    return usage("--pbkdf-memory and --pbkdf-parallel belong to argon2");
  }
  if (options.seconds) wish.seconds = *options.seconds;
  wish.iterations = options.iterations;
  wish.lanes = options.lanes;
  if (!options.memory.empty()) {
    const auto bytes = parse_size(options.memory);
    if (!bytes || *bytes < 1024 || *bytes / 1024 > keyslots::kMaxArgonMemoryKib) {
      return usage("--pbkdf-memory: '" + options.memory + "' is not a size from 32K to 4G");
    }
    wish.memory_kib = static_cast<std::uint32_t>(*bytes / 1024);
  }
  return wish;
}

}  // namespace latchkey::tools
