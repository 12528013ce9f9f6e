#include "tools/open_image.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

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
  add_key_options(command, options.keys);
}

void add_partition_option(CLI::App& command, OpenOptions& options) {
  command
      .add_option("--partition", options.partition, "the partition that is meant, as info counts")
      ->type_name("N");
}

void add_locked_option(CLI::App& command, OpenOptions& options) {
  command.add_flag("--locked", options.locked, "present the ciphertext where no key fits");
}

namespace {

constexpr int kPassphraseTries = 3;

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

Result<void> unlock_with_prompt(Image& image, const keyslots::UnlockOptions& unlock,
                                const OpenOptions& options) {
  for (int attempt = 1; attempt <= kPassphraseTries; ++attempt) {
    auto secret = ask_passphrase(fmt::format("Passphrase for {}: ", image.path));
    if (!secret) return std::move(secret).error();
    auto source = std::make_unique<keyslots::FixedSecrets>();
    source->add(std::move(*secret));
    keyslots::KeyRing ring;
    ring.add(std::move(source));
    if (unlock_image(image, ring, unlock, options.partition) > 0) return {};
    for (const Region* region : still_locked(image, options)) {
      const Error& error = *region->volume->error;
      if (error.code() != ErrorCode::kWrongKey && openable(region)) return error;
    }
    if (attempt < kPassphraseTries) fmt::print(stderr, "no keyslot takes this passphrase\n");
  }
  return {};
}

Result<void> unlock(Image& image, const OpenOptions& options) {
  const auto locked = still_locked(image, options);
  if (std::none_of(locked.begin(), locked.end(), openable)) return {};
  auto unlock = unlock_options(options.keys);
  if (!unlock) return std::move(unlock).error();
  auto ring = read_secrets(options.keys);
  if (!ring) return std::move(ring).error();
  if (options.keys.any_secret()) {
    unlock_image(image, *ring, *unlock, options.partition);
    return {};
  }
  return options.locked ? Result<void>() : unlock_with_prompt(image, *unlock, options);
}

// Nothing that was asked for opened: the error that says most about why.
Error why_nothing_opened(const std::vector<const Region*>& locked) {
  const auto stopped = std::find_if(locked.begin(), locked.end(), [](const Region* region) {
    const ErrorCode code = region->volume->error->code();
    return code != ErrorCode::kWrongKey && code != ErrorCode::kKeyNeeded;
  });
  return *(stopped == locked.end() ? locked.front() : *stopped)->volume->error;
}

Result<void> check_opened(const Image& image, const OpenOptions& options) {
  const auto locked = still_locked(image, options);
  const auto encrypted = std::as_const(image).encrypted();
  const bool any_open = std::any_of(encrypted.begin(), encrypted.end(), [&](const Region* region) {
    return wanted(*region, options) && region->volume->open();
  });
  if (!locked.empty() && !any_open && !options.locked) return why_nothing_opened(locked);
  for (const Region* region : locked) {
    warn(region->volume->error->message() + "; it appears as ciphertext");
  }
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

}  // namespace

Result<OpenedImage> open_image(const OpenOptions& options) {
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
  if (engine::SecretBytes::memory_lock_refused()) {
    warn("keys could not be locked in memory (ulimit -l): they may reach swap");
  }
  OpenedImage opened{std::move(*image), {}};
  opened.exports = make_exports(opened.image, options.partition);
  return opened;
}

}  // namespace latchkey::tools
