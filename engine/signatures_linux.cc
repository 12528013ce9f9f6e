// ext2/3/4, xfs and btrfs.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "engine/guid.h"
#include "engine/signature_probes.h"

namespace latchkey::engine {
namespace {

// ext2, 3 and 4 share one superblock and differ in the features it names.
constexpr std::uint32_t kExtCompatHasJournal = 0x4;
constexpr std::uint32_t kExtIncompatRecover = 0x4;
constexpr std::uint32_t kExtIncompatJournalDevice = 0x8;
constexpr std::uint32_t kExt2Incompat = 0x2 | 0x10;       // filetype, meta_bg
constexpr std::uint32_t kExt2RoCompat = 0x1 | 0x2 | 0x4;  // sparse_super, large_file, btree_dir
constexpr std::uint16_t kExtStateClean = 0x1;

constexpr std::uint64_t kXfsLogBlock = 512;
constexpr std::uint32_t kXfsRecordMagic = 0xfeedbabe;
constexpr std::uint8_t kXfsUnmountFlag = 0x20;
constexpr std::uint64_t kXfsMaxRecordBlocks = 512 + 8;  // 256 KiB and its headers

// The log of an xfs: a ring of 512-byte blocks, each beginning with the number of the round it was
// written in. Cleanly unmounted, its last record is a single "unmount" operation.
class XfsLog {
 public:
  XfsLog(const ProbeView& view, std::uint64_t offset, std::uint64_t blocks)
      : view_(view), offset_(offset), blocks_(blocks) {}

  bool dirty() const {
    if (blocks_ < 2) return false;
    const auto first = cycle(0);
    const auto last = cycle(blocks_ - 1);
    if (!first || !last || *first == 0) return false;  // unreadable, or never used
    const auto head = find_head(*first);
    if (!head) return false;
    return !ends_with_unmount(*head);
  }

 private:
  using Block = std::array<std::byte, kXfsLogBlock>;

  bool read(std::uint64_t block, Block& into) const {
    return view_.read(offset_ + block % blocks_ * kXfsLogBlock, into);
  }

  // A record's first block begins with its magic, the round follows.
  std::optional<std::uint32_t> cycle(std::uint64_t block) const {
    Block bytes;
    if (!read(block, bytes)) return std::nullopt;
    const auto word = load_be<std::uint32_t>(bytes, 0);
    return word == kXfsRecordMagic ? load_be<std::uint32_t>(bytes, 4) : word;
  }

  // The first block that is not of the newest round: blocks before it are, those after are older.
  std::optional<std::uint64_t> find_head(std::uint32_t newest) const {
    std::uint64_t low = 0;  // of the newest round
    std::uint64_t high = blocks_;
    while (low + 1 < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      const auto round = cycle(middle);
      if (!round) return std::nullopt;
      (*round == newest ? low : high) = middle;
    }
    return high;
  }

  bool ends_with_unmount(std::uint64_t head) const {
    for (std::uint64_t back = 1; back <= std::min(kXfsMaxRecordBlocks, blocks_); ++back) {
      const std::uint64_t start = head + blocks_ - back;
      Block header;
      if (!read(start, header)) return false;
      if (load_be<std::uint32_t>(header, 0) != kXfsRecordMagic) continue;
      const auto record_bytes = load_be<std::uint32_t>(header, 320);
      const auto version = load_be<std::uint32_t>(header, 8);
      constexpr std::uint32_t kBytesPerHeader = 32 * 1024;
      std::uint64_t headers = 1;
      if ((version & 2) != 0 && record_bytes > kBytesPerHeader && record_bytes <= 256 * 1024) {
        headers = (record_bytes + kBytesPerHeader - 1) / kBytesPerHeader;
      }
      Block operation;
      if (load_be<std::uint32_t>(header, 40) != 1 || headers >= back) return false;
      if (!read(start + headers, operation)) return false;
      return (std::to_integer<std::uint8_t>(operation[9]) & kXfsUnmountFlag) != 0;
    }
    return false;
  }

  const ProbeView& view_;
  const std::uint64_t offset_;
  const std::uint64_t blocks_;
};

bool xfs_log_dirty(const ProbeView& view, Bytes superblock) {
  const std::uint64_t block_bytes = load_be<std::uint32_t>(superblock, 4);
  const auto log_start = load_be<std::uint64_t>(superblock, 48);
  const std::uint64_t group_blocks = load_be<std::uint32_t>(superblock, 84);
  const std::uint64_t log_blocks = load_be<std::uint32_t>(superblock, 96);
  const auto group_bits = std::to_integer<unsigned>(superblock[124]);
  if (log_start == 0 || group_bits == 0 || group_bits > 31) return false;
  const std::uint64_t group = log_start >> group_bits;
  const std::uint64_t in_group = log_start & ((std::uint64_t{1} << group_bits) - 1);
  if (group > 0xffffffff) return false;
  // group < 2^32, group_blocks < 2^32 and block_bytes <= 2^16 could pass 64 bits together.
  const std::uint64_t device_blocks = view.size_bytes() / block_bytes;
  if (group_blocks != 0 && group > device_blocks / group_blocks) return false;
  const std::uint64_t start = group * group_blocks + in_group;
  if (start >= device_blocks || log_blocks > device_blocks - start) return false;
  return XfsLog(view, start * block_bytes, log_blocks * block_bytes / kXfsLogBlock).dirty();
}

}  // namespace

std::optional<ContentSignature> probe_ext(const ProbeView& view) {
  const auto superblock = view.head(1024, 1024);
  if (!superblock || load_le<std::uint16_t>(*superblock, 56) != 0xef53) return std::nullopt;
  const bool possible = load_le<std::uint32_t>(*superblock, 0) > 0 &&  // inodes
                        load_le<std::uint32_t>(*superblock, 4) > 0 &&  // blocks
                        load_le<std::uint32_t>(*superblock, 24) <= 6;  // 64 KiB blocks at most
  if (!possible) return std::nullopt;
  const auto compat = load_le<std::uint32_t>(*superblock, 92);
  const auto incompat = load_le<std::uint32_t>(*superblock, 96);
  const auto ro_compat = load_le<std::uint32_t>(*superblock, 100);
  if ((incompat & kExtIncompatJournalDevice) != 0) return std::nullopt;  // a journal, no files
  const bool journal = (compat & kExtCompatHasJournal) != 0;
  const bool plain =
      (incompat & ~(kExt2Incompat | kExtIncompatRecover)) == 0 && (ro_compat & ~kExt2RoCompat) == 0;
  ContentSignature signature;
  signature.type = !plain ? "ext4" : journal ? "ext3" : "ext2";
  signature.label = label_text(text_field(*superblock, 120, 16));
  signature.uuid = uuid_text(*superblock, 104);
  const bool clean = (load_le<std::uint16_t>(*superblock, 58) & kExtStateClean) != 0;
  signature.needs_recovery = journal ? (incompat & kExtIncompatRecover) != 0 : !clean;
  return signature;
}

std::optional<ContentSignature> probe_xfs(const ProbeView& view) {
  const auto superblock = view.head(0, 512);
  if (!superblock || !starts_with(*superblock, 0, "XFSB")) return std::nullopt;
  const auto block_bytes = load_be<std::uint32_t>(*superblock, 4);
  if (block_bytes < 512 || block_bytes > 65536 || !std::has_single_bit(block_bytes)) {
    return std::nullopt;
  }
  ContentSignature signature;
  signature.type = "xfs";
  signature.label = label_text(text_field(*superblock, 108, 12));
  signature.uuid = uuid_text(*superblock, 32);
  signature.needs_recovery = xfs_log_dirty(view, *superblock);
  return signature;
}

std::optional<ContentSignature> probe_btrfs(const ProbeView& view) {
  constexpr std::uint64_t kSuperblockAt = 65536;
  const auto superblock = view.head(kSuperblockAt, 4096);
  if (!superblock || !starts_with(*superblock, 64, "_BHRfS_M")) return std::nullopt;
  if (load_le<std::uint64_t>(*superblock, 48) != kSuperblockAt) return std::nullopt;
  ContentSignature signature;
  signature.type = "btrfs";
  signature.label = label_text(text_field(*superblock, 299, 256));
  signature.uuid = uuid_text(*superblock, 32);
  signature.needs_recovery = load_le<std::uint64_t>(*superblock, 96) != 0;  // log_root
  return signature;
}

}  // namespace latchkey::engine
