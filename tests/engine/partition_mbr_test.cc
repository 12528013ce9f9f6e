// MBR, logical partitions, disks without a table, and peers that write tables.
#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/partition_builder.h"
#include "tests/support/partition_reading.h"

namespace latchkey::test {
namespace {

using engine::PartitionTable;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kSectors = 4096;

ByteVector blank_disk() {
  return ByteVector(kSectors * 512);
}

// Primary 1, an extended partition in slot 2, primary 4; logicals at 201, 301 and 401.
ByteVector logical_disk() {
  ByteVector disk = blank_disk();
  put_boot_record(disk, 0, {{0x83, 63, 100, 0x80}, {0x0f, 200, 400}, {}, {0x07, 1000, 500}});
  put_le<std::uint32_t>(disk, 440, 0x1234abcd);
  put_boot_record(disk, 200 * 512, {{0x83, 1, 50}, {0x05, 100, 100}});
  put_boot_record(disk, 300 * 512, {{0x82, 1, 60}, {0x05, 200, 100}});
  put_boot_record(disk, 400 * 512, {{0x8e, 1, 70}});
  return disk;
}

constexpr const char* kLogicalPlaces = "1:63+100 4:1000+500 5:201+50 6:301+60 7:401+70";

TEST(Mbr, PrimaryAndLogicalPartitions) {
  const ReadTable read = read_table(logical_disk());
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kMbr);
  EXPECT_EQ(read.table.disk_id, "1234abcd");
  EXPECT_EQ(read.places(), kLogicalPlaces);
  EXPECT_THAT(read.said, IsEmpty());
  EXPECT_EQ(read.table.partitions[0].type, "0x83");
  EXPECT_EQ(read.table.partitions[0].type_name, "Linux filesystem");
  EXPECT_EQ(read.table.partitions[1].type_name, "NTFS or exFAT");
  EXPECT_EQ(read.table.partitions[4].type_name, "Linux LVM");
}

TEST(Mbr, ALinuxExtendedPartitionAndEmptyRecords) {
  ByteVector disk = logical_disk();
  disk[446 + 16 + 4] = std::byte{0x85};
  std::fill_n(disk.begin() + 200 * 512 + 446, 16, std::byte{0});  // the first logical was deleted
  EXPECT_EQ(read_table(disk).places(), "1:63+100 4:1000+500 5:301+60 6:401+70");
}

TEST(Mbr, AChainThatComesBackIsLeft) {
  ByteVector disk = logical_disk();
  put_boot_record(disk, 400 * 512, {{0x8e, 1, 70}, {0x05, 100, 100}});  // back to 300
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), kLogicalPlaces);
  EXPECT_THAT(read.said, HasSubstr("damage: extended partition: boot record at sector 300: the "
                                   "chain comes back to a record it has been at"));
}

TEST(Mbr, AChainThatLeavesIsLeft) {
  ByteVector disk = logical_disk();
  put_boot_record(disk, 400 * 512, {{0x8e, 1, 70}, {0x05, 900, 100}});
  ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), kLogicalPlaces);
  EXPECT_THAT(read.said, HasSubstr("boot record at sector 1100: it lies outside the extended"));

  put_boot_record(disk, 400 * 512, {{0x8e, 1, 70}, {0x05, 0xffffffff, 100}});
  read = read_table(disk);
  EXPECT_EQ(read.places(), kLogicalPlaces);
  EXPECT_THAT(read.said, HasSubstr("boot record at sector 4294967495: it lies outside"));
}

TEST(Mbr, ARecordWithoutSignatureEndsTheChain) {
  ByteVector disk = logical_disk();
  disk[300 * 512 + 511] = std::byte{0};
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "1:63+100 4:1000+500 5:201+50");
  EXPECT_THAT(read.said, HasSubstr("boot record at sector 300: its signature 55 aa is missing; "
                                   "logical partitions from 6 on are left out"));
}

TEST(Mbr, ARecordBeyondTheDiskEndsTheChain) {
  ByteVector disk = logical_disk();
  put_boot_record(disk, 0, {{0x83, 63, 100}, {0x0f, 5000, 400}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "1:63+100 4:1000+500");
  EXPECT_THAT(read.said,
              HasSubstr("boot record at sector 5000: it lies after the end of the disk"));
}

TEST(Mbr, AnEndlessChainIsCutOff) {
  ByteVector disk = blank_disk();
  put_boot_record(disk, 0, {{0x05, 1, 4000}});
  for (std::uint32_t i = 0; i < 1000; ++i) {
    put_boot_record(disk, (1 + 2 * i) * 512, {{0x83, 1, 1}, {0x05, 2 * i + 2, 2}});
  }
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.partitions.size(), 124U);
  EXPECT_THAT(read.said, HasSubstr("there are too many of them"));
}

TEST(Mbr, ALogicalPartitionMayNotOverlapAPrimaryOne) {
  ByteVector disk = logical_disk();
  put_boot_record(disk, 300 * 512, {{0x82, 600, 200}, {0x05, 200, 100}});  // 900 to 1100
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "1:63+100 4:1000+500 5:201+50 7:401+70")
      << "numbers stay as Linux counts";
  EXPECT_THAT(read.said, HasSubstr("damage: partition 6: it overlaps partition 4"));
}

TEST(Mbr, EntriesAreChecked) {
  ByteVector disk = blank_disk();
  put_boot_record(disk, 0,
                  {{0x83, 100, 0}, {0x83, 5000, 10}, {0x83, 200, 0xffffffff}, {0x83, 300, 10}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "3:200+3896");
  EXPECT_THAT(read.said, HasSubstr("damage: partition 1: its length is 0"));
  EXPECT_THAT(read.said, HasSubstr("damage: partition 2: it begins at sector 5000, after the end"));
  EXPECT_THAT(read.said, HasSubstr("warning: partition 3: it should have 4294967295 sectors"));
  EXPECT_THAT(read.said, HasSubstr("damage: partition 4: it overlaps partition 3"));
}

TEST(Mbr, AnEntryOverTheTableItselfIsLeftOut) {
  ByteVector disk = blank_disk();
  put_boot_record(disk, 0, {{0x83, 0, 10}, {0x83, 300, 10}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "2:300+10");
  EXPECT_THAT(read.said, HasSubstr("damage: partition 1: it lies over the partition table"));
}

// A disk of 4096-byte sectors: the table itself does not say so, what its partitions hold does.
TEST(Mbr, CountsInLargeSectorsWhereThatIsWhatFits) {
  ByteVector disk(1024 * 4096);
  put_boot_record(disk, 0, {{0x83, 16, 100}, {0x0f, 200, 400}});
  put_text(disk, 16 * 4096, "LUKS\xba\xbe");
  put_boot_record(disk, 200 * 4096, {{0x83, 1, 50}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.sector_bytes, 4096U);
  EXPECT_EQ(read.places(), "1:16+100 5:201+50");
  EXPECT_THAT(read.said, IsEmpty());
}

TEST(Mbr, HybridTablesGiveTheGpt) {
  GptDisk gpt;
  gpt.parts = {{100, 199, "one"}};
  ByteVector disk = make_gpt_disk(gpt);
  put_boot_record(disk, 0, {{0xee, 1, 33}, {0x07, 300, 100}});
  ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kGpt);
  EXPECT_EQ(read.places(), "1:100+100");
  EXPECT_THAT(read.said, HasSubstr("note: mbr: it is a hybrid one"));
  // Both copies gone, its other entries are what is left.
  disk[gpt.primary() + 60] ^= std::byte{1};
  disk[gpt.backup() + 60] ^= std::byte{1};
  read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kMbr);
  EXPECT_EQ(read.places(), "2:300+100");
  EXPECT_THAT(read.said, HasSubstr("damage: gpt: the primary table is damaged"));
}

// A disk that was partitioned anew: the MBR rules, the GPT behind it is what was there before.
TEST(Mbr, AnOldGptBehindItIsNotFollowed) {
  GptDisk gpt;
  gpt.parts = {{100, 199, "one"}};
  ByteVector disk = make_gpt_disk(gpt);
  put_boot_record(disk, 0, {{0x83, 300, 100}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kMbr);
  EXPECT_EQ(read.places(), "1:300+100");
}

TEST(NoTable, NothingKnown) {
  for (const ByteVector& disk :
       {ByteVector(0), ByteVector(511), ByteVector(512), blank_disk(), random_bytes(1 << 20, 5)}) {
    const ReadTable read = read_table(disk);
    EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kNone);
    EXPECT_THAT(read.said, IsEmpty());
  }
}

// The boot sector of an NTFS volume ends with 55 aa too; code and text are where entries would be.
TEST(NoTable, TheBootSectorOfAVolumeIsNotAnMbr) {
  ByteVector disk = blank_disk();
  put_text(disk, 3, "NTFS    ");
  put_le<std::uint16_t>(disk, 11, 512);
  put_text(disk, 430, "disk error. press ctrl+alt+del to restart, or put in another disk to boot");
  put_boot_record(disk, 0, {});
  EXPECT_EQ(read_table(disk).table.scheme, PartitionTable::Scheme::kNone);
}

// Boot code that happens to have 00 or 80 in the right places is not believed either.
TEST(NoTable, EntriesThatMakeNoSenseInAVolumesBootSector) {
  ByteVector disk = blank_disk();
  put_text(disk, 3, "NTFS    ");
  put_le<std::uint16_t>(disk, 11, 512);
  put_boot_record(disk, 0, {{0x72, 0x74736572, 0x20747261}});
  EXPECT_EQ(read_table(disk).table.scheme, PartitionTable::Scheme::kNone);
}

TEST(NoTable, AVolumeOverAnOldGptIsAVolume) {
  GptDisk gpt;
  gpt.parts = {{100, 199, "one"}};
  ByteVector disk = make_gpt_disk(gpt);
  std::fill_n(disk.begin(), 512, std::byte{0});
  put_text(disk, 0, "LUKS\xba\xbe");
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kNone);
  EXPECT_THAT(read.said, IsEmpty());
}

TEST(NoTable, AProtectiveEntryWithNoGptIsDamage) {
  ByteVector disk = blank_disk();
  put_boot_record(disk, 0, {{0xee, 1, kSectors - 1}});
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kNone);
  EXPECT_THAT(read.said,
              HasSubstr("damage: gpt: the primary table is missing, and there is no good"));
}

// ---- peers ----

class PeerTables : public ::testing::Test {
 protected:
  std::string image() const { return "'" + (folder_ / "disk.img").string() + "'"; }
  ReadTable read() const { return read_table(read_file(folder_ / "disk.img")); }
  const TempDir folder_;
};

TEST_F(PeerTables, Sgdisk) {
  if (!have_program("sgdisk")) GTEST_SKIP() << "sgdisk is not installed";
  ASSERT_TRUE(shell("truncate -s 8M " + image() +
                    " && PATH=$PATH:/sbin:/usr/sbin sgdisk -a 1 -n 1:2048:4095 -t 1:ef00 -c 1:esp "
                    "-n 3:6000:7000 -t 3:8309 " +
                    image()));
  const ReadTable table = read();
  EXPECT_EQ(table.places(), "1:2048+2048 3:6000+1001");
  EXPECT_THAT(table.said, IsEmpty());
  EXPECT_EQ(table.table.partitions[0].type_name, "EFI system partition");
  EXPECT_EQ(table.table.partitions[0].name, "esp");
  EXPECT_EQ(table.table.partitions[1].type_name, "Linux LUKS");
}

TEST_F(PeerTables, SfdiskMbrWithLogicalPartitions) {
  if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  ASSERT_TRUE(shell("truncate -s 8M " + image() +
                    " && printf 'label: dos\\n2048,1000,83\\n4096,8000,5\\n5000,1000,82\\n"
                    "7000,1000,83\\n' | PATH=$PATH:/sbin:/usr/sbin sfdisk --no-reread " +
                    image()));
  const ReadTable table = read();
  EXPECT_EQ(table.places(), "1:2048+1000 5:5000+1000 6:7000+1000");
  EXPECT_THAT(table.said, IsEmpty());
}

TEST_F(PeerTables, FdiskGptWithLargeSectors) {
  if (!have_program("fdisk")) GTEST_SKIP() << "fdisk is not installed";
  ASSERT_TRUE(shell("truncate -s 16M " + image() +
                    " && printf 'g\\nn\\n1\\n256\\n+999\\nw\\n' | "
                    "PATH=$PATH:/sbin:/usr/sbin fdisk --sector-size 4096 " +
                    image()));
  const ReadTable table = read();
  EXPECT_EQ(table.table.sector_bytes, 4096U);
  EXPECT_EQ(table.places(), "1:256+1000");
  EXPECT_THAT(table.said, IsEmpty());
}

}  // namespace
}  // namespace latchkey::test
