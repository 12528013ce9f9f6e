#include "tools/open_image.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/ciphers/cipher_variants.h"
#include "engine/secret_bytes.h"
#include "tools/exit_status.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

void add_open_options(CLI::App& command, OpenOptions& options) {
  command.add_option("IMAGE", options.image, "the image file or block device")
      ->required()
      ->type_name("");
  command.add_flag("--read-write", options.read_write,
                   "allow writing (without it the image is opened read-only)");
  add_cipher_variant_option(command);
  add_key_options(command, options.keys);
}

void add_cipher_variant_option(CLI::App& command) {
  const auto force = [](const std::string& name) {
    const auto forced = engine::force_cipher_variant(name);
    if (forced.ok()) return;
    throw CLI::ValidationError("--cipher-variant",
                               forced.error().message() + "; " + forced.error().hint());
  };
  command
      .add_option_function<std::string>(
          "--cipher-variant", force, "avx512, avx2, aesni or openssl (default: the fastest here)")
      ->type_name("V");
}

void add_partition_option(CLI::App& command, OpenOptions& options) {
  command
      .add_option("--partition", options.partition,
                  "the partition that is meant, as info counts; only this one is unlocked")
      ->type_name("N");
}

void add_locked_option(CLI::App& command, OpenOptions& options) {
  command.add_flag("--locked", options.locked, "present the ciphertext where no key fits");
}

namespace {

bool wanted(const Region& region, const OpenOptions& options) {
  return !options.partition || region.number == *options.partition;
}

// The volumes that should open and have not.
std::vector<const Region*> still_locked(const Image& image, const OpenOptions& options) {
  std::vector<const Region*> out;
  for (const Region* region : std::as_const(image).encrypted()) {
    if (wanted(*region, options) && !region->volume->open()) out.push_back(region);
  }
  return out;
}

// May a key open it, as far as the header tells?
bool openable(const Region* region) {
  const FoundVolume& volume = *region->volume;
  return volume.header && volume.header->facts().unusable.empty();
}

// "Passphrase or recovery password for disk.vhd, p2 or p3: "
std::string prompt_for(const Image& image, const OpenOptions& options) {
  std::string prompt = what_can_be_typed(still_locked(image, options));
  if (prompt.empty()) prompt = "passphrase";
  prompt[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(prompt[0])));
  prompt += " for " + engine::printable(image.path);
  const char* separator = ", ";
  for (const Region* region : still_locked(image, options)) {
    if (!openable(region) || region->number == 0) continue;
    prompt += separator + region->name();
    separator = " or ";
  }
  return prompt + ": ";
}

Result<void> unlock_with_prompt(Image& image, const keyslots::UnlockOptions& unlock,
                                const OpenOptions& options) {
  for (int attempt = 1; attempt <= kPassphraseTries; ++attempt) {
    auto typed = ask_key(prompt_for(image, options));
    if (!typed) return std::move(typed).error();
    if (unlock_image(image, typed->ring, unlock, options.partition) > 0) return {};
    for (const Region* region : still_locked(image, options)) {
      const ErrorCode code = region->volume->error->code();
      const bool of_what_was_typed = code == ErrorCode::kWrongKey ||
                                     code == ErrorCode::kKeyNeeded || code == ErrorCode::kUsage;
      if (!of_what_was_typed && openable(region)) return *region->volume->error;
    }
    tell_nothing_opened(*typed, attempt);
  }
  return {};
}

// A key was given, and nothing was found that it could open. Where that is explained by what is
// there, it is not needed; ciphertext whose header is elsewhere, or gone, looks like nothing at
// all.
Result<void> check_needless_key(const Image& image, const OpenOptions& options) {
  const Region* region = image.partitions.empty() ? &image.disk : nullptr;
  for (const Region& one : image.partitions) {
    if (options.partition == one.number) region = &one;
  }
  const bool traces = region != nullptr && region->content.type == "crypto_LUKS";
  if (region == nullptr || options.locked || (!region->content.empty() && !traces)) {
    warn("the key is not used: nothing that it could open is encrypted");
    return {};
  }
  return Error(ErrorCode::kWrongKey,
               region->name() + (traces ? ": it looks like a LUKS volume, and no header is found "
                                          "that a key could open"
                                        : ": a key was given, and nothing is recognised here that "
                                          "it could open"))
      .with_hint(
          "a header that is kept apart is named with --header FILE; without a key what is "
          "there is presented as it is");
}

Result<void> unlock(Image& image, const OpenOptions& options) {
  const auto locked = still_locked(image, options);
  if (std::none_of(locked.begin(), locked.end(), openable)) {
    const bool needless = locked.empty() && options.keys.any_secret();
    return needless ? check_needless_key(image, options) : Result<void>();
  }
  auto unlock = unlock_options(options.keys);
  if (!unlock) return std::move(unlock).error();
  auto ring = read_secrets(options.keys);
  if (!ring) return std::move(ring).error();
  if (options.keys.any_secret()) {
    unlock_image(image, *ring, *unlock, options.partition);
    return {};
  }
  // What opens with no key (a suspended BitLocker volume) needs no question, and what no key that
  // could be typed opens (a TPM's) has its own answer.
  if (unlock_image(image, *ring, *unlock, options.partition) > 0 || options.locked) return {};
  const auto left = still_locked(image, options);
  const bool ask = std::any_of(left.begin(), left.end(), [](const Region* region) {
    return region->volume->error->code() == ErrorCode::kKeyNeeded;
  });
  return ask ? unlock_with_prompt(image, *unlock, options) : Result<void>();
}

// Nothing that was asked for opened: what was tried on each volume, or, where something else than
// the keys was in the way, that.
Error why_nothing_opened(const std::vector<const Region*>& locked) {
  std::string tried;
  for (const Region* region : locked) {
    const Error& error = *region->volume->error;
    if (error.code() != ErrorCode::kWrongKey && error.code() != ErrorCode::kKeyNeeded) {
      if (!error.hint().empty()) return error;
      return Error(error).with_hint(
          "latchkey info shows all there is to know; latchkey expose --locked gives the "
          "ciphertext");
    }
    tried += (tried.empty() ? "" : "; ") + error.message();
  }
  const Error& first = *locked.front()->volume->error;
  return Error(first.code(), tried).with_hint(first.hint());
}

// A volume that is not open, among others that are.
void warn_of_locked(const Image& image, const OpenOptions& options) {
  for (const Region* region : std::as_const(image).encrypted()) {
    if (region->volume->open()) continue;
    // With --partition the others were not even tried.
    if (!wanted(*region, options) && !options.shows_disk) continue;
    // Which key it would take is of no interest to somebody who gave none.
    const Error& error = *region->volume->error;
    const std::string why =
        error.code() == ErrorCode::kKeyNeeded ? region->name() + " is locked" : error.message();
    warn(why + (options.shows_disk ? "; it appears as ciphertext" : "; it stays locked"));
  }
}

Result<void> check_opened(const Image& image, const OpenOptions& options) {
  const auto locked = still_locked(image, options);
  const auto encrypted = std::as_const(image).encrypted();
  const bool any_open = std::any_of(encrypted.begin(), encrypted.end(), [&](const Region* region) {
    return wanted(*region, options) && region->volume->open();
  });
  if (!locked.empty() && !any_open && !options.locked) return why_nothing_opened(locked);
  warn_of_locked(image, options);
  if (!options.read_write) return {};
  for (const Region* region : encrypted) {
    const std::string& reason = region->volume->read_only_reason;
    if (!region->volume->open() || reason.empty()) continue;
    if (wanted(*region, options) && (options.partition || encrypted.size() == 1)) {
      return Error(ErrorCode::kNotSupported,
                   fmt::format("{} cannot be written: {}", region->name(), reason))
          .with_hint("leave out --read-write to read it");
    }
    warn(fmt::format("{} is read-only: {}", region->name(), reason));
  }
  return {};
}

// Which reading of a key fitted, where that is not simply the file that was named: its label goes
// on behind the file's name.
void tell_readings(const Image& image) {
  for (const Region* region : image.encrypted()) {
    const std::string& by = region->volume->opened_by;
    const std::size_t quote = by.rfind('\'');
    if (!region->volume->open() || quote == std::string::npos || quote + 1 == by.size()) continue;
    fmt::print(stderr, "{} opened: {}\n", region->name(), engine::printable(by));
  }
}

// The header of another volume opens with its key all the same.
void warn_of_noise(const Image& image) {
  for (const Region* region : image.encrypted()) {
    if (!region->volume->open() || !engine::identify_content(*region->view()).empty()) continue;
    warn(region->name() +
         ": nothing is recognised in the plaintext: with the header of another volume it is noise");
  }
}

}  // namespace

Result<OpenedImage> open_image(const OpenOptions& options) {
  // A mistake in the environment, before it looks like a volume that is damaged.
  if (const auto variant = engine::cipher_variant(); !variant) return variant.error();
  SurveyOptions survey;
  survey.access = options.read_write ? engine::Access::kReadWrite : engine::Access::kReadOnly;
  survey.header_path = options.keys.header;
  survey.partition = options.partition;
  auto image = survey_image(options.image, survey);
  if (!image) return std::move(image).error();
  warn_all(image->notices);
  if (options.read_write && !image->container.read_only_reason.empty()) {
    return Error(ErrorCode::kDamaged, fmt::format("{} cannot be written: {}", options.image,
                                                  image->container.read_only_reason))
        .with_hint("leave out --read-write to read it");
  }
  if (auto done = unlock(*image, options); !done) return std::move(done).error();
  if (auto done = check_opened(*image, options); !done) return std::move(done).error();
  warn_all(image->logical_notices);
  if (engine::SecretBytes::memory_lock_refused()) {
    warn("keys could not be locked in memory (ulimit -l): they may reach swap");
  }
  tell_readings(*image);
  if (!options.keys.header.empty()) warn_of_noise(*image);
  OpenedImage opened{std::move(*image), {}};
  opened.exports = make_exports(opened.image, options.partition);
  return opened;
}

}  // namespace latchkey::tools
