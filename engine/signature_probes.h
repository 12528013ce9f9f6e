// The probes behind identify_content(), one per format family, and what they look at. Internal to
// signatures*.cc and their tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/signatures.h"

namespace latchkey::engine {

// The start of a device, read once, and a few blocks elsewhere on request.
class ProbeView {
 public:
  static constexpr std::size_t kHeadBytes = std::size_t{128} * 1024;

  explicit ProbeView(BlockDevice& device);

  std::uint64_t size_bytes() const noexcept { return device_.size_bytes(); }
  // [offset, offset + length) if it lies in the head; else nothing. Unreadable bytes are zeros.
  std::optional<Bytes> head(std::uint64_t offset, std::size_t length) const noexcept;
  bool has(std::uint64_t offset, std::string_view magic) const noexcept;
  // Anywhere on the device; false where it is not inside or cannot be read.
  bool read(std::uint64_t offset, MutableBytes into) const noexcept;

 private:
  BlockDevice& device_;
  std::vector<std::byte> head_;
};

using SignatureProbe = std::optional<ContentSignature> (*)(const ProbeView&);

// signatures.cc
std::optional<ContentSignature> probe_luks(const ProbeView& view);
std::optional<ContentSignature> probe_luks2_secondary(const ProbeView& view);
std::optional<ContentSignature> probe_raid(const ProbeView& view);
std::optional<ContentSignature> probe_lvm(const ProbeView& view);
std::optional<ContentSignature> probe_swap(const ProbeView& view);
std::optional<ContentSignature> probe_squashfs(const ProbeView& view);
std::optional<ContentSignature> probe_iso9660(const ProbeView& view);
// signatures_linux.cc
std::optional<ContentSignature> probe_ext(const ProbeView& view);
std::optional<ContentSignature> probe_xfs(const ProbeView& view);
std::optional<ContentSignature> probe_btrfs(const ProbeView& view);
// signatures_windows.cc
std::optional<ContentSignature> probe_bitlocker(const ProbeView& view);
std::optional<ContentSignature> probe_ntfs(const ProbeView& view);
std::optional<ContentSignature> probe_exfat(const ProbeView& view);
std::optional<ContentSignature> probe_vfat(const ProbeView& view);

// Of a label field padded with NULs or blanks.
std::string label_text(std::string_view field);

}  // namespace latchkey::engine
