// What identify_content() makes of real file systems, compared with blkid, and of headers made by
// hand with one field changed.
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/file_device.h"
#include "engine/memory_device.h"
#include "engine/signatures.h"
#include "tests/support/fault_device.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {
namespace {

using engine::ContentSignature;
using engine::identify_content;

ContentSignature identify(ByteVector bytes) {
  engine::MemoryDevice device(std::move(bytes));
  return identify_content(device);
}

std::string output_of(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 256> piece{};
  while (pipe != nullptr && fgets(piece.data(), piece.size(), pipe.get()) != nullptr) {
    text += piece.data();
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// ---- made by the real tools ----

struct MakeCase {
  const char* name;
  const char* program;
  const char* size;
  const char* command;  // the image's name is put behind it
  const char* type;
};
void PrintTo(const MakeCase& tested, std::ostream* out) {
  *out << tested.name;
}

const MakeCase kMakeCases[] = {
    {"ext2", "mkfs.ext2", "8M", "mkfs.ext2 -F -L two", "ext2"},
    {"ext3", "mkfs.ext3", "16M", "mkfs.ext3 -F -L three", "ext3"},
    {"ext4", "mkfs.ext4", "16M", "mkfs.ext4 -F -L four", "ext4"},
    {"ext4_no_journal", "mkfs.ext4", "16M", "mkfs.ext4 -F -O ^has_journal", "ext4"},
    {"ext4_1k_blocks", "mkfs.ext4", "16M", "mkfs.ext4 -F -b 1024 -O 64bit,metadata_csum", "ext4"},
    {"xfs", "mkfs.xfs", "320M", "mkfs.xfs -q -L data", "xfs"},
    {"xfs_4k_sectors", "mkfs.xfs", "320M", "mkfs.xfs -q -s size=4096 -b size=4096", "xfs"},
    {"xfs_v4", "mkfs.xfs", "320M", "mkfs.xfs -q -m crc=0", "xfs"},
    {"btrfs", "mkfs.btrfs", "120M", "mkfs.btrfs -q -L pool", "btrfs"},
    {"fat12", "mkfs.vfat", "2M", "mkfs.vfat -F 12 -n TWELVE", "vfat"},
    {"fat16", "mkfs.vfat", "16M", "mkfs.vfat -F 16 -n SIXTEEN", "vfat"},
    {"fat32", "mkfs.vfat", "64M", "mkfs.vfat -F 32 -n THIRTYTWO", "vfat"},
    {"fat32_no_label", "mkfs.vfat", "64M", "mkfs.vfat -F 32", "vfat"},
    {"fat32_4k_sectors", "mkfs.vfat", "300M", "mkfs.vfat -F 32 -S 4096", "vfat"},
    {"ntfs", "mkntfs", "16M", "mkntfs -F -q -L Windows", "ntfs"},
    {"ntfs_64k_clusters", "mkntfs", "64M", "mkntfs -F -q -c 65536 -L Big", "ntfs"},
    {"ntfs_4k_sectors", "mkntfs", "64M", "mkntfs -F -q -s 4096 -L Native", "ntfs"},
    {"exfat", "mkfs.exfat", "16M", "mkfs.exfat -n cards", "exfat"},
    {"swap", "mkswap", "4M", "mkswap -L paging", "swap"},
    {"swap_64k_pages", "mkswap", "4M", "mkswap -p 65536", "swap"},
    {"luks1", "cryptsetup", "16M",
     "echo x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000", "crypto_LUKS"},
    {"luks2", "cryptsetup", "32M",
     "echo x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "
     "--label vault",
     "crypto_LUKS"},
};

class RealFileSystem : public ::testing::TestWithParam<MakeCase> {
 protected:
  void SetUp() override {
    const MakeCase& tested = GetParam();
    if (!have_program(tested.program)) GTEST_SKIP() << tested.program << " is not installed";
    const std::string file = "'" + image() + "'";
    ASSERT_TRUE(shell("truncate -s " + std::string(tested.size) + " " + file +
                      " && export PATH=$PATH:/sbin:/usr/sbin && " + tested.command + " " + file));
  }
  std::string image() const { return (folder_ / "image").string(); }
  ContentSignature look() const {
    engine::Notices notices;
    auto device = engine::FileDevice::open(image(), engine::Access::kInspect, notices);
    EXPECT_TRUE(device.ok());
    return device.ok() ? identify_content(**device) : ContentSignature();
  }
  std::string blkid(const std::string& tag) const {
    return output_of("PATH=$PATH:/sbin:/usr/sbin blkid -p -o value -s " + tag + " '" + image() +
                     "' 2>/dev/null");
  }
  const TempDir folder_;
};

TEST_P(RealFileSystem, IsWhatBlkidSays) {
  const ContentSignature found = look();
  EXPECT_EQ(found.type, GetParam().type);
  EXPECT_FALSE(found.needs_recovery) << "just made, never mounted";
  if (!have_program("blkid")) GTEST_SKIP() << "blkid is not installed: names are not compared";
  EXPECT_EQ(found.type, blkid("TYPE"));
  EXPECT_EQ(found.label, blkid("LABEL"));
  EXPECT_EQ(found.uuid, blkid("UUID"));
}

INSTANTIATE_TEST_SUITE_P(Made, RealFileSystem, ::testing::ValuesIn(kMakeCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

// ---- not cleanly unmounted ----

class Unclean : public ::testing::Test {
 protected:
  bool make(const std::string& size, const std::string& command) const {
    return shell("export PATH=$PATH:/sbin:/usr/sbin; truncate -s " + size + " " + quoted() +
                 " && " + command + " " + quoted());
  }
  std::string quoted() const { return "'" + (folder_ / "image").string() + "'"; }
  ByteVector image() const { return read_file(folder_ / "image"); }
  const TempDir folder_;
};

TEST_F(Unclean, Ext4WithAJournalToReplay) {
  if (!have_program("debugfs")) GTEST_SKIP() << "debugfs is not installed";
  ASSERT_TRUE(make("8M", "mkfs.ext4 -F"));
  EXPECT_FALSE(identify(image()).needs_recovery);
  ASSERT_TRUE(
      shell("PATH=$PATH:/sbin:/usr/sbin debugfs -w -R 'feature needs_recovery' " + quoted()));
  EXPECT_TRUE(identify(image()).needs_recovery);
}

TEST_F(Unclean, Ext2ThatWasMounted) {
  if (!have_program("debugfs")) GTEST_SKIP() << "debugfs is not installed";
  ASSERT_TRUE(make("4M", "mkfs.ext2 -F"));
  ASSERT_TRUE(shell("PATH=$PATH:/sbin:/usr/sbin debugfs -w -R 'dirty' " + quoted()));
  const ContentSignature found = identify(image());
  EXPECT_EQ(found.type, "ext2");
  EXPECT_TRUE(found.needs_recovery);
}

TEST_F(Unclean, NtfsMarkedForACheck) {
  if (!have_program("ntfsfix")) GTEST_SKIP() << "ntfsfix is not installed";
  ASSERT_TRUE(make("4M", "mkntfs -F -q"));
  EXPECT_FALSE(identify(image()).needs_recovery);
  ASSERT_TRUE(shell("PATH=$PATH:/sbin:/usr/sbin ntfsfix " + quoted()));
  EXPECT_TRUE(identify(image()).needs_recovery);
}

TEST_F(Unclean, FatByEitherMark) {
  if (!have_program("mkfs.vfat")) GTEST_SKIP() << "mkfs.vfat is not installed";
  ASSERT_TRUE(make("40M", "mkfs.vfat -F 32"));
  const ByteVector clean = image();
  EXPECT_FALSE(identify(clean).needs_recovery);
  ByteVector linux_mark = clean;
  linux_mark[65] |= std::byte{1};
  EXPECT_TRUE(identify(linux_mark).needs_recovery);
  ByteVector windows_mark = clean;
  windows_mark[32 * 512 + 7] &= std::byte{0xf7};
  EXPECT_TRUE(identify(windows_mark).needs_recovery);
}

TEST_F(Unclean, BtrfsWithALogTree) {
  if (!have_program("mkfs.btrfs")) GTEST_SKIP() << "mkfs.btrfs is not installed";
  ASSERT_TRUE(make("120M", "mkfs.btrfs -q"));
  ByteVector head = image();
  head.resize(1 << 20);
  EXPECT_FALSE(identify(head).needs_recovery);
  put_le<std::uint64_t>(head, 65536 + 96, 0x1d04000);
  EXPECT_TRUE(identify(head).needs_recovery);
}

TEST(Signature, ExfatByItsVolumeFlags) {
  ByteVector device(1 << 20);
  put_text(device, 0, std::string("\xeb\x76\x90") + "EXFAT   ");
  put_le<std::uint32_t>(device, 88, 64);  // the cluster heap's sector
  put_le<std::uint32_t>(device, 96, 4);   // the root directory's cluster
  put_le<std::uint32_t>(device, 100, 0xabcd1234);
  device[108] = std::byte{9};
  device[109] = std::byte{3};
  const std::size_t root = 64 * 512 + 2 * 4096;
  device[root] = std::byte{0x81};
  device[root + 32] = std::byte{0x83};
  device[root + 33] = std::byte{4};
  for (std::size_t i = 0; i < 4; ++i) {
    put_le<std::uint16_t>(device, root + 34 + 2 * i, static_cast<std::uint8_t>("CARD"[i]));
  }
  ContentSignature found = identify(device);
  EXPECT_EQ(found.type, "exfat");
  EXPECT_EQ(found.label, "CARD");
  EXPECT_EQ(found.uuid, "ABCD-1234");
  EXPECT_FALSE(found.needs_recovery);
  put_le<std::uint16_t>(device, 106, 2);
  EXPECT_TRUE(identify(device).needs_recovery);
  put_le<std::uint32_t>(device, 96, 0xffffffff);  // far outside: no label, no more
  found = identify(device);
  EXPECT_EQ(found.type, "exfat");
  EXPECT_EQ(found.label, "");
}

// ---- the log of an xfs ----

// An xfs of one group whose log is `blocks` blocks of 512 bytes, all of round 4.
class XfsImage {
 public:
  static constexpr std::size_t kLogAt = 64 * 4096;

  explicit XfsImage(std::size_t blocks) : blocks_(blocks), bytes_(kLogAt + blocks * 512 + 4096) {
    put_text(bytes_, 0, "XFSB");
    put_be<std::uint32_t>(bytes_, 4, 4096);
    put_be<std::uint64_t>(bytes_, 48, 64);
    put_be<std::uint32_t>(bytes_, 84, 1024);
    put_be<std::uint32_t>(bytes_, 96, static_cast<std::uint32_t>(blocks / 8));
    bytes_[124] = std::byte{10};
    for (std::size_t block = 0; block < blocks; ++block) set_round(block, 4);
  }
  void set_round(std::size_t block, std::uint32_t round) {
    put_be<std::uint32_t>(bytes_, kLogAt + block * 512, round);
  }
  // Blocks before this one are of a later round.
  void set_head(std::size_t head) {
    for (std::size_t block = 0; block < head; ++block) set_round(block, 5);
  }
  // A record with `operations` operations, the first with `flags`, that begins at `block`.
  void put_record(std::size_t block, std::uint32_t operations, std::uint8_t flags) {
    const std::size_t at = kLogAt + block % blocks_ * 512;
    put_be<std::uint32_t>(bytes_, at + 4, engine::load_be<std::uint32_t>(bytes_, at));
    put_be<std::uint32_t>(bytes_, at, 0xfeedbabe);
    put_be<std::uint32_t>(bytes_, at + 8, 2);
    put_be<std::uint32_t>(bytes_, at + 40, operations);
    put_be<std::uint32_t>(bytes_, at + 320, 32768);
    bytes_[kLogAt + (block + 1) % blocks_ * 512 + 9] = static_cast<std::byte>(flags);
  }
  bool dirty() const {
    const ContentSignature found = identify(bytes_);
    EXPECT_EQ(found.type, "xfs");
    return found.needs_recovery;
  }
  ByteVector& bytes() { return bytes_; }

 private:
  const std::size_t blocks_;
  ByteVector bytes_;
};

TEST(XfsLog, IsCleanWhereItEndsWithAnUnmountRecord) {
  for (const std::size_t head : {2U, 3U, 100U, 511U, 512U, 640U}) {
    XfsImage clean(640);
    clean.set_head(head);
    clean.put_record(head - 2, 1, 0x20);
    EXPECT_FALSE(clean.dirty()) << head;
    XfsImage other_operation(640);
    other_operation.set_head(head);
    other_operation.put_record(head - 2, 1, 0x01);
    EXPECT_TRUE(other_operation.dirty()) << head;
    XfsImage more_operations(640);
    more_operations.set_head(head);
    more_operations.put_record(head - 2, 2, 0x20);
    EXPECT_TRUE(more_operations.dirty()) << head;
  }
}

TEST(XfsLog, WrapsAround) {
  XfsImage clean(640);
  clean.set_head(1);
  clean.put_record(639, 1, 0x20);
  EXPECT_FALSE(clean.dirty());
  XfsImage dirty(640);
  dirty.set_head(1);
  dirty.put_record(639, 3, 0);
  EXPECT_TRUE(dirty.dirty());
}

TEST(XfsLog, AnUnmountThatIsNotTheLastRecordDoesNotCount) {
  XfsImage dirty(640);
  dirty.set_head(100);
  dirty.put_record(90, 1, 0x20);
  dirty.put_record(95, 7, 0);
  EXPECT_TRUE(dirty.dirty());
}

TEST(XfsLog, OneThatIsNotThereCountsAsClean) {
  XfsImage external(640);
  put_be<std::uint64_t>(external.bytes(), 48, 0);
  EXPECT_FALSE(external.dirty());
  XfsImage outside(640);
  put_be<std::uint64_t>(outside.bytes(), 48, ~0ULL);
  EXPECT_FALSE(outside.dirty());
  XfsImage too_long(640);
  put_be<std::uint32_t>(too_long.bytes(), 96, ~0U);
  EXPECT_FALSE(too_long.dirty());
  XfsImage groups(640);
  groups.bytes()[124] = std::byte{255};
  EXPECT_FALSE(groups.dirty());
}

TEST_F(Unclean, XfsWhoseUnmountRecordIsAnotherOne) {
  if (!have_program("mkfs.xfs")) GTEST_SKIP() << "mkfs.xfs is not installed";
  ASSERT_TRUE(make("20M", "mkfs.xfs -q -d agcount=1 --unsupported") || make("320M", "mkfs.xfs -q"));
  ByteVector bytes = image();
  EXPECT_FALSE(identify(bytes).needs_recovery);
  const std::array magic = {std::byte{0xfe}, std::byte{0xed}, std::byte{0xba}, std::byte{0xbe}};
  std::size_t record = 0;
  for (std::size_t at = 0; at + 512 <= bytes.size() && record == 0; at += 512) {
    if (std::equal(magic.begin(), magic.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at))) {
      record = at;
    }
  }
  ASSERT_GT(record, 0U);
  bytes[record + 512 + 9] = std::byte{0x01};
  EXPECT_TRUE(identify(bytes).needs_recovery);
}

// ---- made by hand ----

TEST(Signature, Nothing) {
  EXPECT_TRUE(identify({}).empty());
  EXPECT_TRUE(identify(ByteVector(3)).empty());
  EXPECT_TRUE(identify(ByteVector(1 << 20)).empty());
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    EXPECT_TRUE(identify(random_bytes(200000, seed)).empty()) << seed;
  }
}

TEST(Signature, LvmPhysicalVolumesInAnyOfFourSectors) {
  for (const std::size_t sector : {0U, 1U, 2U, 3U}) {
    ByteVector device(1 << 20);
    put_text(device, sector * 512, "LABELONE");
    put_le<std::uint32_t>(device, sector * 512 + 20, 32);
    put_text(device, sector * 512 + 24, "LVM2 001");
    put_text(device, sector * 512 + 32, "abcdefGHIJklmnOPQRstuvWXYZ012345");
    const ContentSignature found = identify(device);
    EXPECT_EQ(found.type, "LVM2_member");
    EXPECT_EQ(found.uuid, "abcdef-GHIJ-klmn-OPQR-stuv-WXYZ-012345");
    put_le<std::uint32_t>(device, sector * 512 + 20, 0xfffffff0);
    EXPECT_EQ(identify(device).type, "LVM2_member");
    EXPECT_EQ(identify(device).uuid, "");
  }
}

TEST(Signature, RaidMembersOfEveryVersion) {
  constexpr std::size_t kSize = 1 << 20;
  const std::pair<std::size_t, std::uint32_t> places[] = {
      {0, 1}, {4096, 1}, {kSize - 16 * 512, 1}, {kSize - 65536, 0}};
  for (const auto& [at, major] : places) {
    ByteVector device(kSize);
    put_le<std::uint32_t>(device, at, 0xa92b4efc);
    put_le<std::uint32_t>(device, at + 4, major);
    EXPECT_EQ(identify(device).type, "linux_raid_member") << at;
    put_le<std::uint32_t>(device, at + 4, major + 1);
    EXPECT_TRUE(identify(device).empty()) << at;
  }
}

TEST(Signature, BitLockerOnFixedAndRemovableDrives) {
  ByteVector fixed(8192);
  put_text(fixed, 3, "-FVE-FS-");
  EXPECT_EQ(identify(fixed).type, "BitLocker");
  ByteVector to_go(8192);
  put_text(to_go, 3, "MSWIN4.1");
  EXPECT_TRUE(identify(to_go).empty());
  const ByteVector guid = from_hex("3bd66749292ed84a8399f6a339e3d001");
  std::copy(guid.begin(), guid.end(), to_go.begin() + 424);
  EXPECT_EQ(identify(to_go).type, "BitLocker");
  // An exFAT in front; and a GUID with no room for what must follow it.
  ByteVector exfat(8192);
  put_text(exfat, 3, "EXFAT   ");
  EXPECT_EQ(identify(exfat).type, "exfat");
  std::copy(guid.begin(), guid.end(), exfat.begin() + 496);
  EXPECT_EQ(identify(exfat).type, "exfat");
  std::copy(guid.begin(), guid.end(), exfat.begin() + 472);
  EXPECT_EQ(identify(exfat).type, "BitLocker");
}

TEST(Signature, Luks2BySecondHeaderAlone) {
  for (std::size_t at = 0x4000; at <= 0x400000; at *= 2) {
    ByteVector device(5 << 20);
    put_text(device, at, "SKUL\xba\xbe");
    put_text(device, at + 168, "11111111-2222-3333-4444-555555555555");
    EXPECT_TRUE(identify(device).empty()) << "its own offset has to be in it";
    put_be<std::uint64_t>(device, at + 256, at);
    EXPECT_EQ(identify(device).type, "crypto_LUKS") << at;
    EXPECT_EQ(identify(device).uuid, "11111111-2222-3333-4444-555555555555");
  }
}

TEST(Signature, DiscsAndSquashfs) {
  ByteVector disc(65536);
  put_text(disc, 32768,
           "\x01"
           "CD001");
  put_text(disc, 32768 + 40, "MY DISC                         ");
  put_text(disc, 32768 + 813, "2023040506070809");
  const ContentSignature found = identify(disc);
  EXPECT_EQ(found.type, "iso9660");
  EXPECT_EQ(found.label, "MY DISC");
  EXPECT_EQ(found.uuid, "2023-04-05-06-07-08-09");
  ByteVector squash(4096);
  put_text(squash, 0, "hsqs");
  EXPECT_EQ(identify(squash).type, "squashfs");
}

TEST(Signature, LabelsCannotMoveTheCursor) {
  ByteVector device(1 << 20);
  put_text(device, 4086, "SWAPSPACE2");
  put_text(device, 1052, "\x1b[2Jboo\xff");
  EXPECT_EQ(identify(device).label, "?[2Jboo?");
}

// A FAT has no magic number: one impossible field and it is none.
TEST(Signature, FatFieldsMustBePossible) {
  ByteVector fat(1 << 20);
  put_text(fat, 0, "\xeb\x3c\x90mkfs.fat");
  put_le<std::uint16_t>(fat, 11, 512);
  fat[13] = std::byte{4};
  put_le<std::uint16_t>(fat, 14, 1);
  fat[16] = std::byte{2};
  put_le<std::uint16_t>(fat, 17, 512);
  put_le<std::uint16_t>(fat, 19, 2048);
  fat[21] = std::byte{0xf8};
  put_le<std::uint16_t>(fat, 22, 2);
  ASSERT_EQ(identify(fat).type, "vfat");
  const std::pair<std::size_t, std::uint8_t> changes[] = {{0, 0x33}, {11, 1},   {13, 3}, {13, 0},
                                                          {14, 0},   {16, 0},   {16, 3}, {18, 0},
                                                          {20, 0},   {21, 0xf1}};
  for (const auto& [at, value] : changes) {
    ByteVector changed = fat;
    changed[at] = static_cast<std::byte>(value);
    EXPECT_TRUE(identify(changed).empty()) << at;
  }
}

TEST(Signature, NtfsNumbersAreBounded) {
  ByteVector ntfs(1 << 20);
  put_text(ntfs, 3, "NTFS    ");
  put_le<std::uint16_t>(ntfs, 11, 512);
  ntfs[13] = std::byte{8};
  ntfs[64] = std::byte{0xf6};  // records of 1 KiB
  put_le<std::uint64_t>(ntfs, 48, 4);
  const std::size_t record = 4 * 4096 + 3 * 1024;
  put_text(ntfs, record, "FILE");
  put_le<std::uint16_t>(ntfs, record + 4, 48);  // update sequence
  put_le<std::uint16_t>(ntfs, record + 6, 3);
  put_le<std::uint16_t>(ntfs, record + 20, 56);  // first attribute
  put_le<std::uint32_t>(ntfs, record + 56, 0x70);
  put_le<std::uint32_t>(ntfs, record + 60, 40);
  put_le<std::uint32_t>(ntfs, record + 72, 12);
  put_le<std::uint16_t>(ntfs, record + 76, 24);
  put_le<std::uint16_t>(ntfs, record + 56 + 24 + 10, 1);
  put_le<std::uint32_t>(ntfs, record + 96, 0xffffffff);
  ASSERT_EQ(identify(ntfs).type, "ntfs");
  ASSERT_TRUE(identify(ntfs).needs_recovery);
  // Each of these makes the mark unreadable; none may read outside.
  const std::pair<std::size_t, std::uint8_t> changes[] = {{13, 0},
                                                          {64, 0},
                                                          {64, 1},
                                                          {64, 0x80},
                                                          {55, 0x80},
                                                          {record, 'B'},
                                                          {record + 5, 0xff},
                                                          {record + 6, 200},
                                                          {record + 510, 7},
                                                          {record + 21, 0xff},
                                                          {record + 60, 8},
                                                          {record + 63, 0xff},
                                                          {record + 75, 0xff},
                                                          {record + 77, 0xff}};
  for (const auto& [at, value] : changes) {
    ByteVector changed = ntfs;
    changed[at] = static_cast<std::byte>(value);
    EXPECT_EQ(identify(changed).type, "ntfs") << at;
    EXPECT_FALSE(identify(changed).needs_recovery) << at;
  }
}

TEST(Signature, ABadSectorDoesNotHideTheRest) {
  ByteVector device(1 << 20);
  put_text(device, 4086, "SWAPSPACE2");
  auto faulty =
      std::make_shared<FaultDevice>(std::make_shared<engine::MemoryDevice>(std::move(device)));
  faulty->bad_read_byte = 100000;
  EXPECT_EQ(identify_content(*faulty).type, "swap");
  faulty->bad_read_byte = 0;
  EXPECT_EQ(identify_content(*faulty).type, "");
}

}  // namespace
}  // namespace latchkey::test
