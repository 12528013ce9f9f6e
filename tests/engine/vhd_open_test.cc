// VHD files that open, and everything that can be wrong with one: each case changes one thing in a
// valid image and names the error or notice that is expected.
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/fault_log.h"
#include "tests/support/container_opening.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {
namespace {

using engine::ErrorCode;
using engine::IoCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint32_t kBlock = 64 * 1024;
constexpr std::uint64_t kDiskBytes = 10 * kBlock + 4096;  // the last block is a short one

DynamicVhdFields some_blocks() {
  DynamicVhdFields fields;
  fields.disk_bytes = kDiskBytes;
  fields.block_bytes = kBlock;
  fields.blocks[3] = random_bytes(kBlock, 3);
  fields.blocks[0] = random_bytes(kBlock, 1);
  fields.blocks[10] = random_bytes(4096, 10);
  return fields;
}

ByteVector disk_of(const DynamicVhdFields& fields) {
  ByteVector disk(fields.disk_bytes);
  for (const auto& [block, data] : fields.blocks) {
    std::copy(data.begin(), data.end(),
              disk.begin() + static_cast<std::ptrdiff_t>(block) * fields.block_bytes);
  }
  return disk;
}

std::string fact(const engine::Container& container, std::string_view name) {
  for (const auto& [key, value] : container.facts) {
    if (key == name) return value;
  }
  return "(no such fact)";
}

TEST(VhdOpen, FixedIsASliceOfTheFile) {
  const ByteVector disk = random_bytes(100 * 512, 7);
  auto opened = open_image(make_fixed_vhd(disk));
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_EQ(opened.container->format, "vhd");
  EXPECT_EQ(read_all(opened.disk()), disk);
  EXPECT_THAT(opened.said(), IsEmpty());
  EXPECT_FALSE(opened.disk().writable());
  EXPECT_EQ(fact(*opened.container, "creator"), "win ");
  EXPECT_EQ(fact(*opened.container, "uuid"), "01020304-0506-0708-090a-0b0c0d0e0f10");
}

TEST(VhdOpen, FixedTakesWritesAndKeepsItsFooter) {
  const ByteVector image = make_fixed_vhd(random_bytes(64 * 512, 8));
  auto opened = open_image(image, true);
  ASSERT_TRUE(opened.ok());
  const ByteVector data = random_bytes(1000, 9);
  ASSERT_TRUE(opened.disk().write(63 * 512 + 512 - 1000, data).ok());
  EXPECT_EQ(opened.disk().write(64 * 512 - 10, data).code(), IoCode::kOutOfRange);
  ByteVector expected = image;
  std::copy(data.begin(), data.end(), expected.begin() + 64 * 512 - 1000);
  EXPECT_EQ(opened.file->copy_bytes(), expected);
}

TEST(VhdOpen, DynamicReadsBlocksAndHoles) {
  const DynamicVhdFields fields = some_blocks();
  auto opened = open_image(make_dynamic_vhd(fields));
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_EQ(opened.container->format, "vhd-dynamic");
  EXPECT_EQ(opened.disk().size_bytes(), kDiskBytes);
  EXPECT_EQ(read_all(opened.disk()), disk_of(fields));
  EXPECT_THAT(opened.said(), IsEmpty());
  EXPECT_EQ(fact(*opened.container, "blocks allocated"), "3 of 11");
  EXPECT_FALSE(opened.disk().extent_at(kBlock, kDiskBytes - kBlock).allocated);
  EXPECT_EQ(opened.disk().extent_at(kBlock, kDiskBytes - kBlock).length, 2 * kBlock);
  EXPECT_TRUE(opened.disk().extent_at(3 * kBlock, kBlock).allocated);
}

// The bitmap does not decide what is read, see vhd_dynamic_map.h.
TEST(VhdOpen, DynamicIgnoresBitmaps) {
  DynamicVhdFields fields = some_blocks();
  fields.bitmap = std::byte{0};
  auto opened = open_image(make_dynamic_vhd(fields));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(read_all(opened.disk()), disk_of(fields));
}

TEST(VhdOpen, SizeComesFromTheCurrentSizeField) {
  // 1 x 4 x 17 sectors would be 34,816 bytes.
  for (const char* creator : {"win ", "qemu", "wa", "d2v", "vs  ", "tap"}) {
    VhdFooterFields fields;
    fields.creator = creator;
    fields.cylinders = 1;
    fields.heads = 4;
    fields.sectors = 17;
    auto opened = open_image(make_fixed_vhd(ByteVector(100 * 512), fields));
    ASSERT_TRUE(opened.ok()) << creator;
    EXPECT_EQ(opened.disk().size_bytes(), 100 * 512) << creator;
    EXPECT_THAT(fact(*opened.container, "size by geometry"), HasSubstr("34816 bytes")) << creator;
  }
}

TEST(VhdOpen, VirtualPcGuestsSawTheGeometry) {
  VhdFooterFields fields;
  fields.creator = "vpc ";
  fields.cylinders = 1;
  fields.heads = 4;
  fields.sectors = 17;
  auto opened = open_image(make_fixed_vhd(ByteVector(100 * 512), fields));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.disk().size_bytes(), 68 * 512);
  EXPECT_EQ(fact(*opened.container, "size field"), "51200 bytes");
  fields.cylinders = 65535;
  fields.heads = 16;
  fields.sectors = 255;
  auto at_maximum = open_image(make_fixed_vhd(ByteVector(100 * 512), fields));
  ASSERT_TRUE(at_maximum.ok());
  EXPECT_EQ(at_maximum.disk().size_bytes(), 100 * 512);
}

TEST(VhdOpen, OldFootersHave511Bytes) {
  const ByteVector disk = random_bytes(20 * 512, 11);
  ByteVector image = make_fixed_vhd(disk);
  image.pop_back();  // it is zero, so the checksum stays right
  auto opened = open_image(image);
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_EQ(opened.container->format, "vhd");
  EXPECT_EQ(read_all(opened.disk()), disk);
}

TEST(VhdOpen, BytesAfterTheFooterAndPaddingBeforeIt) {
  const ByteVector disk = random_bytes(20 * 512, 12);
  ByteVector trailing = make_fixed_vhd(disk);
  trailing.insert(trailing.end(), 5000, std::byte{0x5a});
  auto opened = open_image(trailing);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.container->format, "vhd");
  EXPECT_EQ(read_all(opened.disk()), disk);

  ByteVector padded = disk;
  padded.resize(disk.size() + 1536);
  VhdFooterFields fields;
  fields.current_size = disk.size();
  auto with_padding = open_image(make_fixed_vhd(padded, fields));
  ASSERT_TRUE(with_padding.ok());
  EXPECT_EQ(read_all(with_padding.disk()), disk);
  EXPECT_THAT(with_padding.said(), HasSubstr("1536 bytes between the disk and its footer"));
}

// A raw disk whose last file happens to be a VHD: its footer is near the end, and not ours.
TEST(VhdOpen, AGuestsVhdNearTheEndIsNotTheFooter) {
  ByteVector raw = random_bytes(400 * 512, 13);
  const ByteVector inner = make_fixed_vhd(random_bytes(50 * 512, 14));
  std::copy(inner.begin(), inner.end(), raw.begin() + 340 * 512);
  auto opened = open_image(raw);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.container->format, "raw");
  EXPECT_EQ(read_all(opened.disk()), raw);
}

TEST(VhdOpen, AGuestsDynamicVhdNearTheEndIsNotTheFooterEither) {
  ByteVector raw = random_bytes(1000 * 512, 13);
  const ByteVector inner = make_dynamic_vhd(some_blocks());
  ASSERT_LT(inner.size(), 900U * 512);
  std::copy(inner.begin(), inner.end(),
            raw.end() - static_cast<std::ptrdiff_t>(inner.size() + 10 * 512));
  auto opened = open_image(raw);
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_EQ(opened.container->format, "raw");
}

// Azure's fixed disks pass the 2040 GiB at which other readers stop. The size alone matters here,
// so the image says it and the file is short.
TEST(VhdOpen, SizesAbove2040GiBAreNotRefused) {
  VhdFooterFields fields;
  fields.current_size = 4096ULL << 30;
  fields.creator = "wa";
  auto opened = open_image(make_fixed_vhd(ByteVector(64 * 512), fields));
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_EQ(opened.disk().size_bytes(), 64 * 512);
  EXPECT_THAT(opened.said(), HasSubstr("declares 4398046511104 bytes, the file holds 32768"));
}

TEST(VhdOpen, MissingFooterOpensAsRawWithAWarningWhereTheNamePromisesAVhd) {
  const ByteVector disk = random_bytes(100 * 512, 15);
  auto opened = open_image(disk, false, "backup/Disk.VHD");
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.container->format, "raw");
  EXPECT_EQ(read_all(opened.disk()), disk);
  EXPECT_THAT(opened.said(), HasSubstr("vhd footer: missing at the end of the file"));
  EXPECT_THAT(open_image(disk, false, "disk.img").said(), IsEmpty());
}

TEST(VhdOpen, OtherFormatsAreNamedAndRefused) {
  const std::pair<std::string, std::string> cases[] = {
      {"vhdxfile", "VHDX"},
      {std::string("QFI\xfb"), "QCOW2"},
      {"KDMV", "VMDK"},
      {"# Disk DescriptorFile\nversion=1", "VMDK"},
      {std::string("QED\0", 4), "QED"},
  };
  for (const auto& [magic, name] : cases) {
    ByteVector image(8192);
    put_text(image, 0, magic);
    auto opened = open_image(image);
    ASSERT_FALSE(opened.ok()) << name;
    EXPECT_EQ(opened.container.error().code(), ErrorCode::kNotSupported);
    EXPECT_THAT(opened.refusal(), HasSubstr(name));
    EXPECT_THAT(opened.container.error().hint(), HasSubstr("qemu-img convert"));
  }
  ByteVector vdi(8192);
  put_le<std::uint32_t>(vdi, 64, 0xbeda107f);
  EXPECT_THAT(open_image(vdi).refusal(), HasSubstr("VDI"));
}

TEST(VhdOpen, WhatAnImageIsPackedInIsNamedAndRefused) {
  const struct {
    std::size_t at;
    std::string magic;
    std::string name;
  } cases[] = {{0, "\x1f\x8b\x08", "gzip"},
               {0, "\xfd" + std::string("7zXZ\0", 5), "xz"},
               {0, "\x28\xb5\x2f\xfd", "zstd"},
               {4, "1AY&SY", "bzip2"},
               {0, "PK\x03\x04", "zip"},
               {0, "7z\xbc\xaf\x27\x1c", "7z"},
               {257, "ustar", "tar"}};
  for (const auto& [at, magic, name] : cases) {
    SCOPED_TRACE(name);
    ByteVector image(8192);
    put_text(image, at, magic);
    auto opened = open_image(image);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.container.error().code(), ErrorCode::kNotSupported);
    EXPECT_THAT(opened.refusal(), HasSubstr("this is a " + name));
    EXPECT_THAT(opened.container.error().hint(), HasSubstr("take the image out of it first"));
  }
}

TEST(VhdOpen, DifferencingDisksAreRefusedByTheNameOfTheirParent) {
  DynamicVhdFields fields = some_blocks();
  fields.type = 4;
  ByteVector image = make_dynamic_vhd(fields);
  const std::string name = "parent.vhd";
  for (std::size_t i = 0; i < name.size(); ++i) {
    put_be<std::uint16_t>(image, kVhdHeaderAt + 64 + 2 * i, static_cast<std::uint8_t>(name[i]));
  }
  seal_vhd_header(image, kVhdHeaderAt);
  auto opened = open_image(image);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.container.error().code(), ErrorCode::kNotSupported);
  EXPECT_THAT(opened.refusal(), HasSubstr("differencing disk"));
  EXPECT_THAT(opened.refusal(), HasSubstr("\"parent.vhd\""));
}

// ---- one thing changed ----

struct HostileCase {
  const char* name;
  std::function<void(ByteVector&)> change;
  const char* error;      // part of the error; empty: it opens
  const char* notice;     // part of the notices; empty: none
  const char* read_only;  // part of the reason; empty: it takes writes
};

void PrintTo(const HostileCase& hostile, std::ostream* out) {
  *out << hostile.name;
}

void reseal_both_footers(ByteVector& image) {
  seal_vhd_footer(image, 0);
  seal_vhd_footer(image, image.size() - 512);
}

template <std::unsigned_integral T>
void change_both_footers(ByteVector& image, std::size_t field, T value) {
  put_be(image, field, value);
  put_be(image, image.size() - 512 + field, value);
  reseal_both_footers(image);
}

template <std::unsigned_integral T>
std::function<void(ByteVector&)> header_field(std::size_t field, T value) {
  return [=](ByteVector& image) {
    put_be(image, kVhdHeaderAt + field, value);
    seal_vhd_header(image, kVhdHeaderAt);
  };
}

std::function<void(ByteVector&)> entry(std::uint32_t block, std::uint32_t value) {
  return [=](ByteVector& image) { put_be(image, kVhdTableAt + block * 4, value); };
}

const HostileCase kDynamicCases[] = {
    {"footer checksum", [](ByteVector& image) { image[image.size() - 512 + 40] ^= std::byte{1}; },
     "", "vhd footer: its checksum is wrong; the copy at the start", "vhd footer at the end"},
    {"copy checksum", [](ByteVector& image) { image[40] ^= std::byte{1}; }, "",
     "vhd footer copy: its checksum is wrong", "footer copy at the start of the file is damaged"},
    {"both checksums",
     [](ByteVector& image) {
       image[40] ^= std::byte{1};
       image[image.size() - 512 + 40] ^= std::byte{1};
     },
     "", "the checksums of both copies are wrong", "checksums of both vhd footers"},
    {"footer missing", [](ByteVector& image) { image.resize(image.size() - 512); }, "",
     "vhd footer: missing at the end of the file", ""},
    {"copy missing", [](ByteVector& image) { std::fill_n(image.begin(), 512, std::byte{0}); }, "",
     "vhd footer copy: missing at the start", "footer copy at the start of the file is damaged"},
    {"both missing",
     [](ByteVector& image) {
       std::fill_n(image.begin(), 512, std::byte{0});
       image.resize(image.size() - 512);
     },
     "both copies of its footer are not", "", ""},
    {"copies differ",
     [](ByteVector& image) {
       put_be<std::uint64_t>(image, 48, kDiskBytes - 512);
       seal_vhd_footer(image, 0);
     },
     "", "describes another disk", "two copies of the vhd footer differ"},
    {"footer version",
     [](ByteVector& image) { change_both_footers<std::uint32_t>(image, 12, 0x00020000); },
     "vhd footer: version 2 is not known", "", ""},
    {"disk type", [](ByteVector& image) { change_both_footers<std::uint32_t>(image, 60, 6); },
     "vhd footer: disk type 6 is not known", "", ""},
    {"disk type 0", [](ByteVector& image) { change_both_footers<std::uint32_t>(image, 60, 0); },
     "disk type 0 is not known", "", ""},
    {"size 0", [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 48, 0); },
     "a disk size of 0 bytes is not possible", "", ""},
    {"size not whole sectors",
     [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 48, kDiskBytes - 1); }, "",
     "not a whole number of sectors", ""},
    {"size beyond the table",
     [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 48, ~0ULL); }, "",
     "the block table holds 720896", "shorter than its footer declares"},
    {"header offset outside",
     [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 16, 1ULL << 40); },
     "vhd dynamic header at byte 1099511627776 lies beyond the end", "", ""},
    {"header offset all ones",
     [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 16, ~0ULL); },
     "vhd dynamic header at byte 18446744073709551615 lies beyond the end", "", ""},
    {"header offset inside the table",
     [](ByteVector& image) { change_both_footers<std::uint64_t>(image, 16, 1536); },
     "vhd dynamic header: not found at byte 1536", "", ""},
    {"header cookie", [](ByteVector& image) { image[kVhdHeaderAt] = std::byte{'C'}; },
     "vhd dynamic header: not found at byte 512", "", ""},
    {"header checksum", [](ByteVector& image) { image[kVhdHeaderAt + 100] ^= std::byte{1}; }, "",
     "vhd dynamic header: its checksum is wrong", "checksum of the vhd dynamic header"},
    {"header version", header_field<std::uint32_t>(24, 0x00020000),
     "vhd dynamic header: version 2 is not known", "", ""},
    {"table offset outside", header_field<std::uint64_t>(16, 1ULL << 50),
     "vhd block table at byte 1125899906842624 lies beyond the end", "", ""},
    {"table offset all ones", header_field<std::uint64_t>(16, ~0ULL), "lies beyond the end", "",
     ""},
    {"table over the header", header_field<std::uint64_t>(16, 1024),
     "vhd block table: it lies over the footer copy or the header", "", ""},
    {"table over the footer copy", header_field<std::uint64_t>(16, 0),
     "vhd block table: it lies over the footer copy or the header", "", ""},
    {"no entries", header_field<std::uint32_t>(28, 0),
     "not one whole sector of the disk is in the file", "", ""},
    {"too few entries", header_field<std::uint32_t>(28, 4), "", "the block table holds 262144",
     "shorter than its footer declares"},
    {"block size 0", header_field<std::uint32_t>(32, 0), "a block size of 0 bytes", "", ""},
    {"block size 511", header_field<std::uint32_t>(32, 511), "a block size of 511 bytes", "", ""},
    {"block size not a power of two", header_field<std::uint32_t>(32, 3 * 512),
     "a block size of 1536 bytes", "", ""},
    {"entry in the footer copy", entry(3, 0), "",
     "1 of 3 allocated blocks lie inside the metadata or over each other",
     "block table is damaged"},
    {"entry in the header", entry(3, 1), "", "1 of 3 allocated blocks lie inside", "is damaged"},
    {"entry in the table", entry(3, 3), "", "1 of 3 allocated blocks lie inside", "is damaged"},
    {"entry over the footer", entry(3, 4 + 129 + 129 + 129), "", "allocated blocks lie inside",
     "is damaged"},
    {"two blocks in one place", entry(3, 4), "", "2 of 3 allocated blocks lie inside",
     "is damaged"},
    {"two blocks overlap", entry(3, 5), "", "2 of 3 allocated blocks lie inside", "is damaged"},
    {"entry beyond the end", entry(3, 0x00ffffff), "",
     "1 of 3 allocated blocks end beyond the end of the file", "cut short"},
    {"entry at the last sector", entry(3, 0xfffffffe), "", "1 of 3 allocated blocks lie inside",
     "is damaged"},
};

class VhdHostile : public ::testing::TestWithParam<HostileCase> {};

TEST_P(VhdHostile, SaysWhatIsWrong) {
  const HostileCase& hostile = GetParam();
  ByteVector image = make_dynamic_vhd(some_blocks());
  hostile.change(image);
  auto opened = open_image(image, true, "image.vhd");
  if (*hostile.error != '\0') {
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.refusal(), HasSubstr(hostile.error));
    EXPECT_NE(opened.container.error().code(), ErrorCode::kSystem);
    return;
  }
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_THAT(opened.said(), HasSubstr(hostile.notice));
  if (*hostile.read_only == '\0') {
    EXPECT_THAT(opened.container->read_only_reason, IsEmpty());
    EXPECT_TRUE(opened.disk().writable());
  } else {
    EXPECT_THAT(opened.container->read_only_reason, HasSubstr(hostile.read_only));
    EXPECT_FALSE(opened.disk().writable());
  }
  // Whatever is wrong, each byte reads as what it was, or fails.
  const ByteVector expected = disk_of(some_blocks());
  ByteVector sector(512);
  for (std::uint64_t at = 0; at < opened.disk().size_bytes() / 512 * 512; at += 512) {
    if (!opened.disk().read(at, sector).ok() || at >= expected.size()) continue;
    ASSERT_TRUE(std::equal(sector.begin(), sector.end(),
                           expected.begin() + static_cast<std::ptrdiff_t>(at)))
        << "at byte " << at;
  }
  EXPECT_EQ(opened.file->copy_bytes(), image);
}

INSTANTIATE_TEST_SUITE_P(Dynamic, VhdHostile, ::testing::ValuesIn(kDynamicCases),
                         [](const auto& tested) {
                           std::string name = tested.param.name;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST(VhdOpen, ABadEntryFailsItsOwnBlockOnly) {
  const DynamicVhdFields fields = some_blocks();
  ByteVector image = make_dynamic_vhd(fields);
  put_be<std::uint32_t>(image, kVhdTableAt + 3 * 4, 1);
  auto opened = open_image(image, true);
  ASSERT_TRUE(opened.ok());
  engine::take_faults();
  ByteVector block(kBlock);
  EXPECT_EQ(opened.disk().read(3 * kBlock + 5, std::span(block).first(10)).code(),
            IoCode::kDamaged);
  EXPECT_THAT(engine::take_faults(),
              ::testing::ElementsAre(HasSubstr("vhd block table: the table entry cannot be true")));
  ASSERT_TRUE(opened.disk().read(0, block).ok());
  EXPECT_EQ(block, fields.blocks.at(0));
}

// A download that stopped: what is there is read, the rest fails, nothing reads as made-up zeros.
TEST(VhdOpen, ATruncatedDynamicDiskReadsAsFarAsItGoes) {
  const DynamicVhdFields fields = some_blocks();
  ByteVector image = make_dynamic_vhd(fields);
  // Blocks 0, 3 and 10 lie in this order; 1000 bytes of the second are left.
  image.resize(2048 + 512 + kBlock + 512 + 1000);
  auto opened = open_image(image, true);
  ASSERT_TRUE(opened.ok()) << opened.refusal();
  EXPECT_THAT(opened.said(), HasSubstr("2 of 3 allocated blocks end beyond the end"));
  EXPECT_THAT(opened.said(), HasSubstr("vhd footer: missing"));
  EXPECT_FALSE(opened.disk().writable());
  ByteVector block(kBlock);
  ASSERT_TRUE(opened.disk().read(0, block).ok());
  EXPECT_EQ(block, fields.blocks.at(0));
  ByteVector sector(512);
  ASSERT_TRUE(opened.disk().read(3 * kBlock, sector).ok());
  EXPECT_TRUE(std::equal(sector.begin(), sector.end(), fields.blocks.at(3).begin()));
  EXPECT_EQ(opened.disk().read(3 * kBlock + 512, sector).code(), IoCode::kDamaged);
  EXPECT_EQ(opened.disk().read(10 * kBlock, sector).code(), IoCode::kDamaged);
}

TEST(VhdOpen, AFixedDiskWithABadChecksumOpensReadOnly) {
  const ByteVector disk = random_bytes(64 * 512, 16);
  ByteVector image = make_fixed_vhd(disk);
  image[image.size() - 1] ^= std::byte{1};
  auto opened = open_image(image, true);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.container->format, "vhd");
  EXPECT_EQ(read_all(opened.disk()), disk);
  EXPECT_THAT(opened.said(), HasSubstr("vhd footer: its checksum is wrong; opened read-only"));
  EXPECT_FALSE(opened.disk().writable());
}

TEST(VhdOpen, AFixedDiskShorterThanDeclaredIsCutToWholeSectors) {
  ByteVector disk = random_bytes(64 * 512, 17);
  VhdFooterFields fields;
  fields.current_size = 100 * 512;
  disk.resize(63 * 512 + 100);
  auto opened = open_image(make_fixed_vhd(disk, fields), true);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.disk().size_bytes(), 63 * 512);
  EXPECT_THAT(opened.said(), HasSubstr("declares 51200 bytes, the file holds 32356"));
  EXPECT_FALSE(opened.disk().writable());
}

TEST(VhdOpen, ATableOfMoreThan64MiBIsRefused) {
  DynamicVhdFields fields;
  fields.disk_bytes = 17ULL << 20;
  fields.block_bytes = 512;
  ByteVector image = make_dynamic_vhd(fields);
  put_be<std::uint32_t>(image, kVhdHeaderAt + 28, 0xffffffff);
  seal_vhd_header(image, kVhdHeaderAt);
  change_both_footers<std::uint64_t>(image, 48, 1ULL << 40);
  auto opened = open_image(image);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.refusal(), HasSubstr("vhd block table: 2147483648 entries are more than"));
}

TEST(VhdOpen, TinyFilesAreRaw) {
  for (const std::size_t size : {1U, 8U, 511U, 512U, 513U, 1535U, 1536U}) {
    auto opened = open_image(ByteVector(size, std::byte{0x63}));
    ASSERT_TRUE(opened.ok()) << size;
    EXPECT_EQ(opened.container->format, "raw") << size;
    EXPECT_EQ(opened.disk().size_bytes(), size);
  }
  // A footer and nothing else.
  auto footer_alone = open_image(make_fixed_vhd({}, {.current_size = 512}));
  ASSERT_FALSE(footer_alone.ok());
  EXPECT_THAT(footer_alone.refusal(), HasSubstr("not one whole sector"));
}

}  // namespace
}  // namespace latchkey::test
