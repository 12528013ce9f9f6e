// New VHD files and new partition tables: read back here, by qemu-img and by sgdisk.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/containers/vhd_create.h"
#include "engine/partitions/gpt_create.h"
#include "engine/partitions/partition_table.h"
#include "tests/support/container_opening.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {
namespace {

using engine::NewVhd;
using engine::VhdKind;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

ByteVector new_vhd(VhdKind kind, std::uint64_t disk_bytes) {
  NewVhd vhd;
  vhd.kind = kind;
  vhd.disk_bytes = disk_bytes;
  vhd.created_seconds = 800000000;
  std::fill(vhd.uuid.begin(), vhd.uuid.end(), std::byte{0x5a});
  engine::MemoryDevice file(ByteVector(512), true);
  auto made = engine::create_vhd(file, vhd);
  EXPECT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(file.size_bytes(), engine::new_vhd_file_bytes(vhd));
  return file.copy_bytes();
}

TEST(VhdCreate, OpensAsTheDiskThatWasAskedFor) {
  for (const VhdKind kind : {VhdKind::kFixed, VhdKind::kDynamic}) {
    for (const std::uint64_t size : {kMiB, 5 * kMiB, 5 * kMiB + 512}) {
      auto opened = open_image(new_vhd(kind, size), true);
      ASSERT_TRUE(opened.ok()) << opened.refusal();
      EXPECT_EQ(opened.container->format, kind == VhdKind::kFixed ? "vhd" : "vhd-dynamic");
      EXPECT_EQ(opened.container->read_only_reason, "");
      EXPECT_TRUE(opened.notices.items().empty());
      EXPECT_EQ(opened.disk().size_bytes(), size);
      const ByteVector zeros(size);
      EXPECT_EQ(read_all(opened.disk()), zeros);
      const ByteVector data = random_bytes(4096, test_seed());
      ASSERT_TRUE(opened.disk().write(size - data.size(), data).ok());
      ASSERT_TRUE(opened.disk().flush().ok());
      auto again = open_image(opened.file->copy_bytes());
      ASSERT_TRUE(again.ok());
      ByteVector back(data.size());
      ASSERT_TRUE(again.disk().read(size - data.size(), back).ok());
      EXPECT_EQ(back, data);
    }
  }
}

TEST(VhdCreate, SizesThatCannotBe) {
  engine::MemoryDevice file(ByteVector(512), true);
  NewVhd vhd;
  for (const std::uint64_t size : {std::uint64_t{0}, kMiB + 1}) {
    vhd.disk_bytes = size;
    EXPECT_EQ(engine::create_vhd(file, vhd).error().code(), engine::ErrorCode::kUsage);
  }
  vhd.kind = VhdKind::kDynamic;
  vhd.disk_bytes = 2041 * 1024 * kMiB;
  EXPECT_EQ(engine::create_vhd(file, vhd).error().code(), engine::ErrorCode::kUsage);
  EXPECT_EQ(file.size_bytes(), 512U);
}

// The specification's appendix; the values are what qemu-img writes for these sizes.
TEST(VhdCreate, Geometry) {
  const auto chs = [](std::uint64_t bytes) {
    const engine::VhdChs c = engine::vhd_chs_of(bytes / 512);
    return fmt::format("{}/{}/{}", c.cylinders, c.heads, c.sectors);
  };
  EXPECT_EQ(chs(10 * kMiB), "301/4/17");
  EXPECT_EQ(chs(1024 * kMiB), "2080/16/63");
  EXPECT_EQ(chs(std::uint64_t{30} * 1024 * kMiB), "62415/16/63");
  EXPECT_EQ(chs(std::uint64_t{4096} * 1024 * kMiB), "65535/16/255");
}

TEST(VhdCreate, QemuSeesTheSame) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const TempDir dir;
  for (const VhdKind kind : {VhdKind::kFixed, VhdKind::kDynamic}) {
    auto opened = open_image(new_vhd(kind, 7 * kMiB), true);
    ASSERT_TRUE(opened.ok());
    ASSERT_TRUE(opened.disk().write(3 * kMiB, random_bytes(kMiB, test_seed())).ok());
    ASSERT_TRUE(opened.disk().flush().ok());
    write_file(dir / "a.vhd", opened.file->copy_bytes());
    write_file(dir / "a.raw", read_all(opened.disk()));
    const std::string go = "cd " + dir.path().string() + " && ";
    EXPECT_TRUE(shell(go + "qemu-img compare -f vpc -F raw a.vhd a.raw"));
    EXPECT_TRUE(shell(go + "qemu-img info -f vpc a.vhd | grep -q 7340032"));
  }
}

TEST(GptCreate, IsReadBackAndFoundSound) {
  engine::NewGpt gpt;
  for (std::size_t i = 0; i < 16; ++i) {
    gpt.disk_guid[i] = static_cast<std::byte>(i);
    gpt.partition_guid[i] = static_cast<std::byte>(0x10 + i);
  }
  gpt.name = "data";
  auto disk = std::make_shared<engine::MemoryDevice>(ByteVector(10 * kMiB), true);
  auto place = engine::write_new_gpt(*disk, gpt);
  ASSERT_TRUE(place.ok()) << place.error().message();
  EXPECT_EQ(place->offset, kMiB);
  EXPECT_EQ(place->length, 8 * kMiB);
  engine::Notices notices;
  auto table = engine::read_partition_table(*disk, notices);
  ASSERT_TRUE(table.ok());
  EXPECT_TRUE(notices.items().empty());
  EXPECT_EQ(table->scheme, engine::PartitionTable::Scheme::kGpt);
  EXPECT_EQ(table->disk_id, "00010203-0405-0607-0809-0a0b0c0d0e0f");
  ASSERT_EQ(table->partitions.size(), 1U);
  EXPECT_EQ(table->partitions[0].offset, kMiB);
  EXPECT_EQ(table->partitions[0].length, 8 * kMiB);
  EXPECT_EQ(table->partitions[0].type_name, "Linux LUKS");
  EXPECT_EQ(table->partitions[0].name, "data");
  EXPECT_EQ(table->partitions[0].uuid, "10111213-1415-1617-1819-1a1b1c1d1e1f");
  if (have_program("sgdisk")) {
    const TempDir dir;
    write_file(dir / "d", disk->copy_bytes());
    EXPECT_TRUE(shell("PATH=$PATH:/sbin:/usr/sbin sgdisk -v " + (dir / "d").string() +
                      " | grep -q 'No problems found'"));
  }
  engine::MemoryDevice small(ByteVector(2 * kMiB), true);
  EXPECT_EQ(engine::write_new_gpt(small, gpt).error().code(), engine::ErrorCode::kUsage);
}

}  // namespace
}  // namespace latchkey::test
