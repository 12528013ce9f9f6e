#include "tools/luks_target.h"

#include <fmt/format.h>

#include "tools/exit_status.h"
#include "tools/open_image.h"
#include "tools/shell_quoted.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Result<Image> survey(const TargetOptions& options, const std::string& header_path, TargetUse use,
                     bool any_header) {
  SurveyOptions survey;
  survey.any_header = any_header;
  const bool write = use == TargetUse::kWrite;
  survey.header_path = header_path;
  survey.write_header = write && !header_path.empty();
  survey.access =
      write && header_path.empty() ? engine::Access::kReadWrite : engine::Access::kReadOnly;
  if (options.partition != 0U) survey.partition = options.partition;
  auto image = survey_image(options.image, survey);
  if (!image) return image;
  warn_all(image->notices);
  if (survey.access == engine::Access::kReadWrite && !image->container.read_only_reason.empty()) {
    return Error(ErrorCode::kDamaged, fmt::format("{} cannot be written: {}", options.image,
                                                  image->container.read_only_reason));
  }
  return image;
}

// A header that was found on another partition belongs there, and only perhaps to this one.
bool has_own_header(const Region& region) {
  return region.volume && !region.volume->lifted;
}

Region* named(Image& image, unsigned number) {
  for (Region& region : image.partitions) {
    if (region.number == number) return &region;
  }
  return nullptr;
}

Result<Region*> choose(Image& image, const TargetOptions& options) {
  if (options.partition == 0U) return &image.disk;
  if (options.partition) return named(image, *options.partition);
  std::vector<Region*> found;
  std::string names;
  for (Region* region : image.encrypted()) {
    if (!has_own_header(*region)) continue;
    found.push_back(region);
    names += (names.empty() ? "" : ", ") + region->name();
  }
  if (found.size() == 1) return found.front();
  if (found.empty() && image.partitions.empty()) return &image.disk;
  return Error(ErrorCode::kUsage,
               found.empty() ? "no partition of " + options.image + " is encrypted"
                             : options.image + " holds several encrypted volumes: " + names)
      .with_hint("say which one is meant: --partition N");
}

Result<void> check_format(const LuksTarget& target) {
  if (!target.region->volume || !target.region->volume->header) return {};
  const std::string& format = target.header().facts().format;
  if (format.starts_with("LUKS")) return {};
  return Error(ErrorCode::kNotSupported,
               fmt::format("{} is a {} volume: only headers of LUKS are dealt with here",
                           target.name(), format))
      .with_hint("change its protectors with manage-bde, in Windows");
}

}  // namespace

void add_target_options(CLI::App& command, TargetOptions& options) {
  command.add_option("IMAGE", options.image, "the image file or block device")
      ->required()
      ->type_name("");
  command
      .add_option("--partition", options.partition,
                  "the partition that is meant; 0: the whole disk")
      ->type_name("N");
  add_cipher_variant_option(command);
}

std::string LuksTarget::name() const {
  return region->number == 0 ? image->path : image->path + " " + region->name();
}

namespace {

Result<LuksTarget> find_place(const TargetOptions& options, const std::string& header_path,
                              TargetUse use, bool any_header) {
  auto image = survey(options, header_path, use, any_header);
  if (!image) return std::move(image).error();
  LuksTarget target;
  target.image = std::make_unique<Image>(std::move(*image));
  auto region = choose(*target.image, options);
  if (!region) return std::move(region).error();
  target.region = *region;
  if (auto fine = check_format(target); !fine) return std::move(fine).error();
  if (header_path.empty()) {
    target.header_device = target.region->device;
    return target;
  }
  // What was named is looked at and written, and never the data in its stead.
  if (target.region->volume && !target.region->volume->source.header) {
    return Error(ErrorCode::kUsage, target.name() + " is not what --header belongs to")
        .with_hint("say which partition it is for: --partition N");
  }
  target.header_device = target.image->header_device;
  return target;
}

}  // namespace

Result<LuksTarget> find_header_place(const TargetOptions& options, const std::string& header_path,
                                     TargetUse use) {
  return find_place(options, header_path, use, true);
}

Result<LuksTarget> find_luks_target(const TargetOptions& options, const std::string& header_path,
                                    TargetUse use) {
  auto target = find_place(options, header_path, use, false);
  if (!target) return target;
  const Region& region = *target->region;
  if (!has_own_header(region)) {
    return Error(ErrorCode::kRefused, target->name() + " holds no encrypted volume")
        .with_hint("latchkey info " + shell_quoted(options.image) + " shows what is in it");
  }
  if (!region.volume->header) return *region.volume->error;
  return target;
}

Result<keyslots::OpenedKeys> open_target(const LuksTarget& target, const KeyOptions& options,
                                         const keyslots::UnlockOptions& unlock,
                                         keyslots::KeyRing* kept) {
  if (options.any_secret()) {
    auto ring = read_secrets(options);
    if (!ring) return std::move(ring).error();
    auto opened = keyslots::find_keys(target.header(), *ring, unlock);
    if (opened && kept != nullptr) *kept = std::move(*ring);
    return opened;
  }
  for (int attempt = 1;; ++attempt) {
    auto typed = ask_key("Passphrase for " + engine::printable(target.name()) + ": ");
    if (!typed) return std::move(typed).error();
    auto opened = keyslots::find_keys(target.header(), typed->ring, unlock);
    if (opened && kept != nullptr) *kept = std::move(typed->ring);
    if (opened || opened.error().code() != ErrorCode::kWrongKey) return opened;
    tell_nothing_opened(*typed, attempt);
    if (attempt == kPassphraseTries) return opened;
  }
}

}  // namespace latchkey::tools
