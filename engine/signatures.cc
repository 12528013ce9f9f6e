#include "engine/signatures.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "engine/guid.h"
#include "engine/signature_probes.h"

namespace latchkey::engine {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kPieceBytes = 4096;
constexpr std::size_t kRaidBytes = 64;
constexpr std::uint32_t kRaidMagic = 0xa92b4efc;

// Containers of other things first, formats with a weak signature last: a FAT is known by a dozen
// fields that are merely possible, and may be left over at the start of something else.
constexpr std::array<SignatureProbe, 14> kProbes = {
    probe_luks,  probe_bitlocker,      probe_raid, probe_lvm,   probe_xfs,  probe_ntfs,
    probe_exfat, probe_squashfs,       probe_ext,  probe_btrfs, probe_swap, probe_iso9660,
    probe_vfat,  probe_luks2_secondary};

ContentSignature found(std::string type, std::string label = {}, std::string uuid = {}) {
  return {std::move(type), std::move(label), std::move(uuid), false};
}

std::optional<ContentSignature> raid_at(const ProbeView& view, std::uint64_t offset,
                                        std::uint32_t major) {
  std::array<std::byte, kRaidBytes> block;
  if (!view.read(offset, block)) return std::nullopt;
  if (load_le<std::uint32_t>(block, 0) != kRaidMagic || load_le<std::uint32_t>(block, 4) != major) {
    return std::nullopt;
  }
  if (major == 1) {
    return found("linux_raid_member", label_text(text_field(block, 32, 32)), uuid_text(block, 16));
  }
  // Version 0.90 keeps the first word of its UUID apart from the other three.
  std::array<std::byte, 16> uuid;
  std::copy_n(block.begin() + 20, 4, uuid.begin());
  std::copy_n(block.begin() + 52, 12, uuid.begin() + 4);
  return found("linux_raid_member", {}, uuid_text(uuid, 0));
}

}  // namespace

ProbeView::ProbeView(BlockDevice& device)
    : device_(device), head_(std::min<std::uint64_t>(device.size_bytes(), kHeadBytes)) {
  if (device_.read(0, head_).ok()) return;
  // One bad sector should not hide the rest.
  for (std::size_t at = 0; at < head_.size(); at += kPieceBytes) {
    const auto piece = std::span(head_).subspan(at, std::min(kPieceBytes, head_.size() - at));
    if (!device_.read(at, piece).ok()) std::ranges::fill(piece, std::byte{0});
  }
}

std::optional<Bytes> ProbeView::head(std::uint64_t offset, std::size_t length) const noexcept {
  if (offset > head_.size() || length > head_.size() - offset) return std::nullopt;
  return Bytes(head_).subspan(offset, length);
}

bool ProbeView::has(std::uint64_t offset, std::string_view magic) const noexcept {
  const auto bytes = head(offset, magic.size());
  return bytes && starts_with(*bytes, 0, magic);
}

bool ProbeView::read(std::uint64_t offset, MutableBytes into) const noexcept {
  return device_.in_range(offset, into.size()) && device_.read(offset, into).ok();
}

std::string label_text(std::string_view field) {
  const std::size_t end = field.find_last_not_of(" \0"sv);
  return printable(field.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

std::optional<ContentSignature> probe_luks(const ProbeView& view) {
  const auto header = view.head(0, 512);
  if (!header || !starts_with(*header, 0, "LUKS\xba\xbe"sv)) return std::nullopt;
  const bool luks2 = load_be<std::uint16_t>(*header, 6) == 2;
  return found("crypto_LUKS", luks2 ? label_text(text_field(*header, 24, 48)) : std::string(),
               printable(text_field(*header, 168, 40)));
}

// A LUKS2 volume whose first header was overwritten still has the second one, at one of nine
// places.
std::optional<ContentSignature> probe_luks2_secondary(const ProbeView& view) {
  for (std::uint64_t offset = 0x4000; offset <= 0x400000; offset *= 2) {
    std::array<std::byte, 512> header;
    if (!view.read(offset, header) || !starts_with(header, 0, "SKUL\xba\xbe"sv)) continue;
    if (load_be<std::uint64_t>(header, 256) != offset) continue;
    return found("crypto_LUKS", label_text(text_field(header, 24, 48)),
                 printable(text_field(header, 168, 40)));
  }
  return std::nullopt;
}

// The superblock is at the start (version 1.1), 4 KiB behind it (1.2) or near the end (1.0, 0.90).
std::optional<ContentSignature> probe_raid(const ProbeView& view) {
  if (auto hit = raid_at(view, 0, 1)) return hit;
  if (auto hit = raid_at(view, 4096, 1)) return hit;
  const std::uint64_t sectors = view.size_bytes() / 512;
  if (sectors >= 16) {
    if (auto hit = raid_at(view, round_down(sectors - 16, 8) * 512, 1)) return hit;
  }
  constexpr std::uint64_t kOldUnit = std::uint64_t{64} * 1024;
  const std::uint64_t whole = round_down(view.size_bytes(), kOldUnit);
  return whole >= kOldUnit ? raid_at(view, whole - kOldUnit, 0) : std::nullopt;
}

// The label may be in any of the first four sectors; it says where the physical volume's header is.
std::optional<ContentSignature> probe_lvm(const ProbeView& view) {
  for (std::uint64_t sector = 0; sector < 4; ++sector) {
    const auto label = view.head(sector * 512, 512);
    if (!label || !starts_with(*label, 0, "LABELONE") || !starts_with(*label, 24, "LVM2 001")) {
      continue;
    }
    ContentSignature signature = found("LVM2_member");
    const auto header_at = load_le<std::uint32_t>(*label, 20);
    if (header_at <= 512 - 32) {
      const std::string raw = printable(text_field(*label, header_at, 32));
      if (raw.size() == 32) {
        signature.uuid = fmt::format("{}-{}-{}-{}-{}-{}-{}", raw.substr(0, 6), raw.substr(6, 4),
                                     raw.substr(10, 4), raw.substr(14, 4), raw.substr(18, 4),
                                     raw.substr(22, 4), raw.substr(26, 6));
      }
    }
    return signature;
  }
  return std::nullopt;
}

// The signature ends the first page, whose size is the machine's.
std::optional<ContentSignature> probe_swap(const ProbeView& view) {
  for (const std::uint64_t page_bytes : {4096U, 8192U, 16384U, 32768U, 65536U}) {
    if (!view.has(page_bytes - 10, "SWAPSPACE2") && !view.has(page_bytes - 10, "SWAP-SPACE")) {
      continue;
    }
    const auto header = view.head(1024, 44);
    if (!header) return std::nullopt;
    return found("swap", label_text(text_field(*header, 28, 16)), uuid_text(*header, 12));
  }
  return std::nullopt;
}

std::optional<ContentSignature> probe_squashfs(const ProbeView& view) {
  if (!view.has(0, "hsqs")) return std::nullopt;
  return found("squashfs");
}

// ECMA-119: the primary volume descriptor is in sector 16 of 2048 bytes. Its creation time serves
// as a name that no other disc has.
std::optional<ContentSignature> probe_iso9660(const ProbeView& view) {
  const auto descriptor = view.head(32768, 2048);
  if (!descriptor || !starts_with(*descriptor, 1, "CD001")) return std::nullopt;
  ContentSignature signature = found("iso9660", label_text(text_field(*descriptor, 40, 32)));
  const std::string time = printable(text_field(*descriptor, 813, 16));
  if (time.size() == 16 && std::ranges::all_of(time, [](char c) { return c >= '0' && c <= '9'; })) {
    signature.uuid =
        fmt::format("{}-{}-{}-{}-{}-{}-{}", time.substr(0, 4), time.substr(4, 2), time.substr(6, 2),
                    time.substr(8, 2), time.substr(10, 2), time.substr(12, 2), time.substr(14, 2));
  }
  return signature;
}

bool ContentSignature::is_file_system() const noexcept {
  constexpr std::array<std::string_view, 6> kOthers = {
      "", "swap", "LVM2_member", "linux_raid_member", "crypto_LUKS", "BitLocker"};
  return std::find(kOthers.begin(), kOthers.end(), type) == kOthers.end();
}

ContentSignature identify_content(BlockDevice& device) {
  const ProbeView view(device);
  for (const SignatureProbe probe : kProbes) {
    if (auto signature = probe(view)) return std::move(*signature);
  }
  return {};
}

}  // namespace latchkey::engine
