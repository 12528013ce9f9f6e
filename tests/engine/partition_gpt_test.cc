// GPT: what opens, and what is wrong with each copy when one field of a valid disk is changed.
#include <algorithm>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/crc32.h"
#include "engine/guid.h"
#include "tests/support/fault_device.h"
#include "tests/support/partition_builder.h"
#include "tests/support/partition_reading.h"

namespace latchkey::test {
namespace {

using engine::PartitionTable;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kThreeParts = "1:40+60 2:100+100 3:1000+24";

GptDisk three_parts() {
  GptDisk gpt;
  gpt.parts = {{40, 99, "boot"}, {100, 199, "root fs"}, {1000, 1023, "d\x01ta"}};
  return gpt;
}

TEST(Crc32, KnownValues) {
  EXPECT_EQ(engine::crc32(engine::as_bytes("")), 0U);
  EXPECT_EQ(engine::crc32(engine::as_bytes("123456789")), 0xcbf43926U);
  const ByteVector bytes = random_bytes(1000, 1);
  EXPECT_EQ(engine::crc32(bytes), slow_crc32(bytes, 0, 1000));
  EXPECT_EQ(
      engine::crc32(std::span(bytes).subspan(300), engine::crc32(std::span(bytes).first(300))),
      engine::crc32(bytes));
}

TEST(Gpt, ReadsPartitions) {
  const ReadTable read = read_table(make_gpt_disk(three_parts()));
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kGpt);
  EXPECT_EQ(read.table.sector_bytes, 512U);
  EXPECT_EQ(read.table.disk_id, "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf");
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_THAT(read.said, IsEmpty());
  const engine::Partition& root = read.table.partitions[1];
  EXPECT_EQ(root.type, "0fc63daf-8483-4772-8e79-3d69d8477de4");
  EXPECT_EQ(root.type_name, "Linux filesystem");
  EXPECT_EQ(root.name, "root fs");
  EXPECT_EQ(root.uuid, "02020202-0202-0202-0202-020202020202");
  EXPECT_EQ(read.table.partitions[2].name, "d?ta") << "control characters do not get through";
}

TEST(Gpt, LargeSectorsAndLargeEntries) {
  GptDisk gpt = three_parts();
  gpt.sector_bytes = 4096;
  ReadTable read = read_table(make_gpt_disk(gpt));
  EXPECT_EQ(read.table.sector_bytes, 4096U);
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_EQ(read.table.partitions[0].offset, 40U * 4096);
  EXPECT_THAT(read.said, IsEmpty());

  gpt = three_parts();
  gpt.entry_bytes = 512;
  gpt.entry_count = 5;
  read = read_table(make_gpt_disk(gpt));
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_THAT(read.said, IsEmpty());
}

TEST(Gpt, NumbersAreSlots) {
  GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  for (const std::size_t array : {gpt.primary_array(), gpt.backup_array()}) {
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(array), 128, std::byte{0});
  }
  seal_gpt(disk, gpt, gpt.primary());
  seal_gpt(disk, gpt, gpt.backup());
  EXPECT_EQ(read_table(disk).places(), "2:100+100 3:1000+24");
}

// ---- one copy damaged ----

struct CopyCase {
  const char* name;
  std::function<void(ByteVector&, const GptDisk&, std::size_t)> change;  // of the header at a byte
  const char* reason;
};
void PrintTo(const CopyCase& tested, std::ostream* out) {
  *out << tested.name;
}

template <std::unsigned_integral T>
auto header_field(std::size_t field, T value) {
  return [=](ByteVector& disk, const GptDisk& gpt, std::size_t at) {
    put_le(disk, at + field, value);
    seal_gpt(disk, gpt, at);
  };
}

const CopyCase kCopyCases[] = {
    {"header_crc",
     [](ByteVector& disk, const GptDisk&, std::size_t at) { disk[at + 60] ^= std::byte{1}; },
     "the checksum of its header is wrong"},
    {"array_crc",
     [](ByteVector& disk, const GptDisk& gpt, std::size_t at) {
       const auto array = engine::load_le<std::uint64_t>(disk, at + 72);
       disk[array * gpt.sector_bytes + 5] ^= std::byte{1};
     },
     "the checksum of its entries is wrong"},
    {"header_size_small", header_field<std::uint32_t>(12, 91), "a header size of 91"},
    {"header_size_large", header_field<std::uint32_t>(12, 513), "a header size of 513"},
    {"header_size_all_ones", header_field<std::uint32_t>(12, ~0U), "a header size of 4294967295"},
    {"revision", header_field<std::uint32_t>(8, 0x00020000), "revision 2.0 is not known"},
    {"own_place", header_field<std::uint64_t>(24, 7), "it says that it belongs to another sector"},
    {"entry_size_small", header_field<std::uint32_t>(84, 64), "an entry size of 64"},
    {"entry_size_odd", header_field<std::uint32_t>(84, 136), "an entry size of 136"},
    {"entry_size_large", header_field<std::uint32_t>(84, 8192), "an entry size of 8192"},
    {"no_entries", header_field<std::uint32_t>(80, 0), "0 entries of 128 bytes"},
    {"too_many_entries", header_field<std::uint32_t>(80, ~0U), "4294967295 entries of 128 bytes"},
    {"array_at_0", header_field<std::uint64_t>(72, 0), "its entries do not lie in the disk"},
    {"array_outside", header_field<std::uint64_t>(72, 2048), "its entries do not lie in the disk"},
    {"array_over_the_end", header_field<std::uint64_t>(72, 2047),
     "its entries do not lie in the disk"},
    {"array_all_ones", header_field<std::uint64_t>(72, ~0ULL),
     "its entries do not lie in the disk"},
};

class GptCopyDamage : public ::testing::TestWithParam<CopyCase> {};

TEST_P(GptCopyDamage, OfThePrimaryLeavesTheBackup) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  GetParam().change(disk, gpt, gpt.primary());
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_THAT(read.said, HasSubstr("warning: gpt: the primary table is damaged: "));
  EXPECT_THAT(read.said, HasSubstr(GetParam().reason));
  EXPECT_THAT(read.said, HasSubstr("; the backup table is used"));
}

TEST_P(GptCopyDamage, OfTheBackupIsAWarning) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  GetParam().change(disk, gpt, gpt.backup());
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_THAT(read.said, HasSubstr("warning: gpt: the backup table is damaged: "));
  EXPECT_THAT(read.said, HasSubstr(GetParam().reason));
}

TEST_P(GptCopyDamage, OfBothIsDamage) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  GetParam().change(disk, gpt, gpt.primary());
  GetParam().change(disk, gpt, gpt.backup());
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.scheme, PartitionTable::Scheme::kNone);
  EXPECT_THAT(read.said, HasSubstr("damage: gpt: the primary table is damaged: "));
  EXPECT_THAT(read.said, HasSubstr("and there is no good backup table either"));
}

INSTANTIATE_TEST_SUITE_P(Fields, GptCopyDamage, ::testing::ValuesIn(kCopyCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Gpt, AWipedPrimaryLeavesTheBackup) {
  for (const std::size_t sector_bytes : {512U, 4096U}) {
    GptDisk gpt = three_parts();
    gpt.sector_bytes = sector_bytes;
    ByteVector disk = make_gpt_disk(gpt);
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(gpt.primary()), 4096, std::byte{0});
    ReadTable read = read_table(disk);
    EXPECT_EQ(read.places(), kThreeParts);
    EXPECT_THAT(read.said, HasSubstr("the primary table is missing; the backup table is used"));
    // The whole of the first sectors, protective entry included.
    std::fill_n(disk.begin(), 512, std::byte{0});
    read = read_table(disk);
    EXPECT_EQ(read.places(), kThreeParts);
    EXPECT_THAT(read.said, HasSubstr("warning: mbr: the protective entry"));
  }
}

// A disk that was made larger keeps its backup where it was; the primary says where.
TEST(Gpt, TheBackupOfAnEnlargedDiskIsFoundWhereThePrimarySays) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  disk.resize(disk.size() + 100 * 512);
  EXPECT_THAT(read_table(disk).said, IsEmpty());
  disk[gpt.primary_array() + 3] ^= std::byte{1};
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), kThreeParts);
  EXPECT_THAT(read.said, HasSubstr("the backup table is used"));
}

// A fixed VHD taken for a raw disk has one more sector.
TEST(Gpt, TheBackupIsFoundBeforeAnAppendedSector) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  disk.resize(disk.size() + 512);
  std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(gpt.primary()), 512, std::byte{0});
  EXPECT_EQ(read_table(disk).places(), kThreeParts);
}

TEST(Gpt, ATruncatedDiskKeepsWhatIsThere) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  disk.resize(150 * 512 + 100);
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), "1:40+60 2:100+50");
  EXPECT_THAT(read.said, HasSubstr("warning: gpt: the backup table should be at sector 2047"));
  EXPECT_THAT(read.said, HasSubstr("warning: partition 2: it should have 100 sectors and the disk "
                                   "ends after 50 of them"));
  EXPECT_THAT(read.said, HasSubstr("damage: partition 3: it begins at sector 1000, after the end"));
}

TEST(Gpt, CopiesThatDifferAreReported) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  disk[gpt.backup_array() + 60] = std::byte{'X'};
  seal_gpt(disk, gpt, gpt.backup());
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.table.partitions[0].name, "boot");
  EXPECT_THAT(read.said, HasSubstr("the backup table differs from the primary one"));
}

TEST(Gpt, NoBackupAtAllIsAWarning) {
  const GptDisk gpt = three_parts();
  ByteVector disk = make_gpt_disk(gpt);
  std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(gpt.backup()), 512, std::byte{0});
  EXPECT_THAT(read_table(disk).said, HasSubstr("warning: gpt: there is no backup table at sector"));
}

TEST(Gpt, APrimaryThatCannotBeReadLeavesTheBackup) {
  auto memory = std::make_shared<engine::MemoryDevice>(make_gpt_disk(three_parts()));
  FaultDevice disk(memory);
  disk.bad_read_byte = 512 + 100;
  engine::Notices notices;
  const auto table = engine::read_partition_table(disk, notices);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->partitions.size(), 3U);
  EXPECT_THAT(notices.items()[0].text, HasSubstr("its header cannot be read"));

  disk.bad_read_byte = 0;
  const auto unreadable = engine::read_partition_table(disk, notices);
  ASSERT_FALSE(unreadable.ok());
  EXPECT_EQ(unreadable.error().code(), engine::ErrorCode::kSystem);
  EXPECT_THAT(unreadable.error().message(), HasSubstr("cannot read the boot sector at byte 0"));
}

// ---- entries ----

struct EntryCase {
  const char* name;
  std::vector<GptPart> parts;
  const char* places;
  const char* notice;
};
void PrintTo(const EntryCase& tested, std::ostream* out) {
  *out << tested.name;
}

const EntryCase kEntryCases[] = {
    {"ends_before_it_begins",
     {{100, 99, ""}, {200, 209, ""}},
     "2:200+10",
     "damage: partition 1: its length is 0"},
    {"all_ones",
     {{~0ULL, ~0ULL, ""}, {200, 209, ""}},
     "2:200+10",
     "damage: partition 1: it begins at sector 18446744073709551615"},
    {"whole_64_bits",
     {{0, ~0ULL, ""}, {200, 209, ""}},
     "2:200+10",
     "damage: partition 1: it lies over the partition table"},
    {"ends_at_all_ones",
     {{300, ~0ULL, ""}, {200, 209, ""}},
     "1:300+1715 2:200+10",
     "partition 1: it should have 18446744073709551316 sectors"},
    {"same_place_twice",
     {{100, 199, ""}, {100, 199, ""}},
     "1:100+100",
     "damage: partition 2: it overlaps partition 1"},
    {"overlaps_by_one",
     {{100, 199, ""}, {199, 299, ""}},
     "1:100+100",
     "damage: partition 2: it overlaps partition 1"},
    {"around_another",
     {{100, 199, ""}, {50, 250, ""}},
     "1:100+100",
     "damage: partition 2: it overlaps partition 1"},
    {"over_the_header",
     {{1, 3, ""}, {100, 199, ""}},
     "2:100+100",
     "damage: partition 1: it lies over the partition table"},
    {"over_the_boot_sector",
     {{0, 0, ""}, {100, 199, ""}},
     "2:100+100",
     "damage: partition 1: it lies over the partition table"},
    {"outside_the_usable_range",
     {{2040, 2045, ""}, {100, 199, ""}},
     "1:2040+6 2:100+100",
     "note: partition 1: it lies partly outside the range"},
};

class GptEntries : public ::testing::TestWithParam<EntryCase> {};

TEST_P(GptEntries, AreCheckedOneByOne) {
  GptDisk gpt;
  gpt.parts = GetParam().parts;
  ByteVector disk = make_gpt_disk(gpt);
  if (std::string(GetParam().name) == "ends_at_all_ones") {
    // Without a backup behind it, so that nothing else is in the way.
    std::fill(disk.begin() + static_cast<std::ptrdiff_t>(gpt.backup_array()), disk.end(),
              std::byte{0});
    disk.resize(2015 * 512);
  }
  const ReadTable read = read_table(disk);
  EXPECT_EQ(read.places(), GetParam().places);
  EXPECT_THAT(read.said, HasSubstr(GetParam().notice));
}

INSTANTIATE_TEST_SUITE_P(Hostile, GptEntries, ::testing::ValuesIn(kEntryCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace latchkey::test
