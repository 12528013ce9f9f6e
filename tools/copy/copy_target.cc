#include "tools/copy/copy_target.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sys/stat.h>

#include "engine/bytes.h"
#include "engine/containers/container.h"
#include "keyslots/key_ring.h"
#include "keyslots/unlock.h"
#include "keyslots/volume_header.h"
#include "tools/copy/nbd_client.h"
#include "tools/exit_status.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::DevicePtr;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr std::uint64_t kVhdUnitBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kSectorUnitBytes = 512;
// What is looked at, at both ends, to tell whether a disk somewhere else is empty.
constexpr std::uint64_t kLookBytes = std::uint64_t{1} << 20;

bool looks_empty(engine::BlockDevice& device) {
  const std::uint64_t length = std::min(kLookBytes, device.size_bytes());
  std::vector<std::byte> bytes(length);
  for (const std::uint64_t offset : {std::uint64_t{0}, device.size_bytes() - length}) {
    if (!device.read(offset, bytes).ok() || !engine::all_zero(bytes)) return false;
  }
  return true;
}

NewImageOptions image_options(const TargetPlan& plan) {
  NewImageOptions image;
  image.path = plan.options.out;
  image.container = plan.format;
  image.force = plan.options.force;
  if (plan.is_file()) image.size_bytes = plan.disk_bytes;
  image.whole_sectors = false;  // a copy is as long as what it is a copy of
  return image;
}

// The disk that OUT is, or has in it.
Result<DevicePtr> open_disk(const TargetPlan& plan, engine::Access access) {
  if (plan.server) return plan.server;
  engine::Notices notices;
  auto file = engine::FileDevice::open(plan.options.out, access, notices);
  if (!file) return std::move(file).error();
  if (plan.format == "raw") return DevicePtr(*file);
  auto container = engine::open_container(*file, notices, plan.options.out);
  if (!container) return std::move(container).error();
  if (container->format != plan.format) {
    return Error(ErrorCode::kRefused,
                 fmt::format("{} is not the {} that was begun", plan.options.out, plan.format));
  }
  if (access == engine::Access::kReadWrite && !container->read_only_reason.empty()) {
    return Error(ErrorCode::kDamaged, fmt::format("{} cannot be written: {}", plan.options.out,
                                                  container->read_only_reason))
        .with_hint("--force without --resume begins anew");
  }
  return container->disk;
}

Result<DevicePtr> unlock_disk(const DevicePtr& disk, const keyslots::Secret& secret, bool writable,
                              std::string& volume) {
  const keyslots::VolumeSource source{disk, nullptr};
  engine::Notices notices;
  auto header = keyslots::probe_volume(source, notices);
  if (!header) return std::move(header).error();
  if (!*header) return Error(ErrorCode::kRefused, "the copy holds no encrypted volume");
  const keyslots::VolumeFacts& facts = (*header)->facts();
  volume = fmt::format("{} {}, {}, key of {} bits, sectors of {} bytes", facts.format, facts.uuid,
                       facts.cipher, facts.key_bits, facts.sector_bytes);
  auto secrets = std::make_unique<keyslots::FixedSecrets>();
  secrets->add({secret.kind, engine::SecretBytes::copy_of(secret.bytes.span()), secret.label});
  keyslots::KeyRing ring;
  ring.add(std::move(secrets));
  auto unlocked = keyslots::unlock_volume(**header, ring, {});
  if (!unlocked) return std::move(unlocked).error().within("the copy");
  return keyslots::plaintext_of(source, std::move(*unlocked), writable);
}

Result<void> check_room(const TargetPlan& plan, std::uint64_t there, std::uint64_t needed) {
  if (there >= needed) return {};
  return Error(ErrorCode::kRefused, fmt::format("{} has {}: {} are needed", plan.options.out,
                                                human_size(there), human_size(needed)));
}

// Of a disk that is there: large enough, and nothing that would be lost unasked.
Result<void> check_disk(const TargetPlan& plan) {
  auto disk = open_disk(plan, engine::Access::kInspect);
  if (!disk) return std::move(disk).error();
  const std::string& out = plan.options.out;
  if (auto room = check_room(plan, (*disk)->size_bytes(), plan.disk_bytes); !room) return room;
  // A block device was looked into by check_new_image().
  if (!plan.server || plan.options.force || looks_empty(**disk)) return {};
  return Error(ErrorCode::kRefused, out + " is not empty: it is not overwritten")
      .with_hint("--force overwrites it: what it holds is lost then");
}

}  // namespace

TargetKind kind_of_target(const std::string& out) {
  if (is_nbd_uri(out)) return TargetKind::kNbd;
  struct stat about {};
  const bool block = stat(out.c_str(), &about) == 0 && S_ISBLK(about.st_mode);
  return block ? TargetKind::kBlockDevice : TargetKind::kFile;
}

Result<std::string> format_of_target(const CopyTargetOptions& options) {
  if (kind_of_target(options.out) == TargetKind::kFile) {
    return container_of(options.out, options.format, "--format");
  }
  if (options.format.empty() || options.format == "raw") return std::string("raw");
  return Error(ErrorCode::kUsage, "--format: a VHD is a file, and " + options.out + " is none");
}

std::string volume_wish(const CopyTargetOptions& options) {
  if (!options.encrypt) return "";
  const NewVolumeOptions& volume = options.volume;
  return fmt::format("{} {} {} {} {}", volume.luks1 ? "luks1" : "luks2", volume.cipher,
                     volume.key_bits, volume.hash, volume.sector_bytes.value_or(0));
}

Result<TargetPlan> plan_target(const CopyTargetOptions& options, std::uint64_t bytes,
                               bool unfinished) {
  TargetPlan plan;
  plan.options = options;
  plan.kind = kind_of_target(options.out);
  plan.bytes = bytes;
  // Nothing lies beside a device that says what is in it: gone on with only if it may be
  // overwritten.
  plan.resumes = plan.is_file() ? unfinished : options.resume && options.force;
  plan.format = options.format;
  if (plan.kind == TargetKind::kNbd) {
    auto server = NbdClientDevice::connect(options.out, true, options.connections);
    if (!server) return std::move(server).error();
    plan.server = std::move(*server);
  }
  const std::uint64_t header = options.encrypt ? header_space_bytes(options.volume) : 0;
  plan.disk_bytes = bytes + header;
  if (plan.format != "raw") {
    plan.disk_bytes = engine::round_up(plan.disk_bytes, kVhdUnitBytes);
  } else if (options.encrypt) {
    const std::uint64_t unit = options.volume.sector_bytes.value_or(kSectorUnitBytes);
    if (unit == 0 || unit > 4096) return Error(ErrorCode::kUsage, "--sector-size: 512 or 4096");
    plan.disk_bytes = header + engine::round_up(bytes, unit);
  }
  if (!plan.resumes) {
    if (!plan.server) {
      if (auto fine = check_new_image(image_options(plan)); !fine) return std::move(fine).error();
    }
    if (options.encrypt) {
      auto luks = plan_new_volume(options.volume, plan.disk_bytes, bytes % 4096 == 0);
      if (!luks) return std::move(luks).error();
      plan.luks = std::move(*luks);
    }
  }
  if (!plan.is_file()) {
    if (auto fine = check_disk(plan); !fine) return std::move(fine).error();
  }
  return plan;
}

Result<CopyTarget> make_target(const TargetPlan& plan, const keyslots::Secret* secret,
                               MadeFiles& made_files) {
  CopyTarget target;
  if (plan.server) {
    target.device = plan.server;
  } else {
    auto image = make_new_image(image_options(plan));
    if (!image) return std::move(image).error();
    if (image->made_file) made_files.add(plan.options.out);
    target.device = std::move(image->disk);
    if (plan.is_file()) target.zeroes = ZeroWrites::kNone;
  }
  if (!plan.luks) return target;
  target.zeroes = ZeroWrites::kWriteOut;
  auto volume = make_new_volume(plan.options.volume, *plan.luks, {target.device, nullptr},
                                secret->bytes.span());
  if (!volume) return std::move(volume).error();
  target.volume = (plan.options.volume.luks1 ? "LUKS1 " : "LUKS2 ") + volume->describe();
  auto plaintext = plaintext_of(*volume);
  if (!plaintext) return std::move(plaintext).error();
  target.device = std::move(*plaintext);
  if (auto room = check_room(plan, target.device->size_bytes(), plan.bytes); !room) {
    return std::move(room).error();
  }
  return target;
}

Result<CopyTarget> reopen_target(const TargetPlan& plan, const keyslots::Secret* secret,
                                 engine::Access access) {
  auto disk = open_disk(plan, access);
  if (!disk) return std::move(disk).error();
  // Somebody has changed it: what is behind the end would stay.
  if (plan.is_file() && (*disk)->size_bytes() != plan.disk_bytes) {
    return Error(ErrorCode::kRefused,
                 fmt::format("{} has {} bytes, and the copy that was begun {}", plan.options.out,
                             (*disk)->size_bytes(), plan.disk_bytes))
        .with_hint("--force without --resume begins anew");
  }
  CopyTarget target;
  target.device = std::move(*disk);
  if (plan.options.encrypt) {
    auto plaintext =
        unlock_disk(target.device, *secret, access == engine::Access::kReadWrite, target.volume);
    if (!plaintext) return std::move(plaintext).error();
    target.device = std::move(*plaintext);
    target.zeroes = ZeroWrites::kWriteOut;
  }
  if (auto room = check_room(plan, target.device->size_bytes(), plan.bytes); !room) {
    return std::move(room).error();
  }
  return target;
}

}  // namespace latchkey::tools
