// From physical volumes to devices: labels, metadata areas, groups over several volumes, and where
// the bytes come from and go to.
#include "engine/lvm/volume_groups.h"

#include <string>

#include <gtest/gtest.h>

#include "engine/lvm/lvm_member.h"
#include "engine/memory_device.h"
#include "tests/engine/lvm/lvm_builder.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;
using test::GroupText;
using test::logical_section;
using test::LvmVolume;
using test::on;
using test::physical_section;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::size_t kExtent = 65536;
const std::string kFirst(32, 'a');
const std::string kSecond(32, 'b');

GroupText one_volume() {
  GroupText group;
  group.physical = {physical_section("pv0", kFirst)};
  group.logical = {logical_section(
      "root", {{"0", "2", "striped", on("pv0", 8)}, {"2", "1", "striped", on("pv0", 3)}})};
  return group;
}

ByteVector volume_of(const GroupText& group, const std::string& raw_uuid = kFirst) {
  LvmVolume volume;
  volume.raw_uuid = raw_uuid;
  volume.text = group.text();
  ByteVector bytes = make_physical_volume(volume);
  const ByteVector noise = test::random_bytes(bytes.size() - kMiB, raw_uuid == kFirst ? 1 : 2);
  std::copy(noise.begin(), noise.end(), bytes.begin() + kMiB);
  return bytes;
}

DevicePtr device_of(ByteVector bytes, bool writable = true) {
  return std::make_shared<MemoryDevice>(std::move(bytes), writable);
}

std::string all_of(const Notices& notices) {
  std::string out;
  for (const Notice& one : notices.items()) out += one.where + ": " + one.text + "\n";
  return out;
}

ByteVector read_all(BlockDevice& device) {
  ByteVector out(device.size_bytes());
  EXPECT_TRUE(device.read(0, out).ok());
  return out;
}

ByteVector extents(const ByteVector& volume, std::size_t first, std::size_t count) {
  const auto at = volume.begin() + static_cast<std::ptrdiff_t>(kMiB + first * kExtent);
  return {at, at + static_cast<std::ptrdiff_t>(count * kExtent)};
}

ByteVector joined(ByteVector a, const ByteVector& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(VolumeGroups, BytesComeFromTheRightExtents) {
  const ByteVector bytes = volume_of(one_volume());
  Notices notices;
  const auto groups = find_volume_groups({{"p4", device_of(bytes)}}, notices);
  EXPECT_EQ(all_of(notices), "");
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].name, "vg");
  EXPECT_EQ(groups[0].on, std::vector<std::string>{"p4"});
  ASSERT_EQ(groups[0].volumes.size(), 1U);
  const LogicalVolume& root = groups[0].volumes[0];
  ASSERT_NE(root.device, nullptr) << root.why_not;
  EXPECT_EQ(root.size_bytes, 3 * kExtent);
  EXPECT_EQ(read_all(*root.device), joined(extents(bytes, 8, 2), extents(bytes, 3, 1)));
}

TEST(VolumeGroups, WritesGoThereToo) {
  const ByteVector before = volume_of(one_volume());
  const auto below = std::make_shared<MemoryDevice>(before, true);
  Notices notices;
  const auto groups = find_volume_groups({{"p4", below}}, notices);
  ASSERT_EQ(groups.size(), 1U);
  const DevicePtr root = groups[0].volumes[0].device;
  ASSERT_TRUE(root->writable());
  const ByteVector data = test::random_bytes(1000, 9);
  ASSERT_TRUE(root->write(2 * kExtent - 500, data).ok());
  ByteVector expected = before;
  std::copy_n(data.begin(), 500, expected.begin() + kMiB + 10 * kExtent - 500);
  std::copy_n(data.begin() + 500, 500, expected.begin() + kMiB + 3 * kExtent);
  EXPECT_TRUE(below->copy_bytes() == expected);
}

TEST(VolumeGroups, ReadOnlyWhereLvmOrTheImageSaysSo) {
  Notices notices;
  const auto writable = [&](const GroupText& group, bool image_writable) {
    const auto groups =
        find_volume_groups({{"p4", device_of(volume_of(group), image_writable)}}, notices);
    return groups.at(0).volumes.at(0).device->writable();
  };
  EXPECT_TRUE(writable(one_volume(), true));
  EXPECT_FALSE(writable(one_volume(), false));
  GroupText group = one_volume();
  group.status = "[\"READ\"]";
  EXPECT_FALSE(writable(group, true));
  group = one_volume();
  group.logical = {
      logical_section("root", {{"0", "1", "striped", on("pv0", 0)}}, "[\"READ\", \"VISIBLE\"]")};
  EXPECT_FALSE(writable(group, true));
}

TEST(VolumeGroups, PartsOfOthersAreNotListed) {
  GroupText group = one_volume();
  group.logical.push_back(
      logical_section("hidden", {{"0", "1", "striped", on("pv0", 20)}}, "[\"READ\", \"WRITE\"]"));
  Notices notices;
  const auto groups = find_volume_groups({{"p4", device_of(volume_of(group))}}, notices);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].volumes.size(), 1U);
}

GroupText two_volumes(const std::string& seqno = "7") {
  GroupText group;
  group.seqno = seqno;
  group.physical = {physical_section("pv0", kFirst), physical_section("pv1", kSecond)};
  group.logical = {logical_section("both", {{"0", "2", "striped", on("pv0", 8)},
                                            {"2", "2", "striped", on("pv1", 5)}}),
                   logical_section("first", {{"0", "1", "striped", on("pv0", 30)}})};
  return group;
}

TEST(VolumeGroups, OverTwoPhysicalVolumes) {
  const ByteVector first = volume_of(two_volumes(), kFirst);
  LvmVolume second;
  second.raw_uuid = kSecond;
  second.areas = {};  // no metadata on this one
  const ByteVector bytes = make_physical_volume(second);
  Notices notices;
  const auto groups =
      find_volume_groups({{"p2", device_of(bytes)}, {"p3", device_of(first)}}, notices);
  EXPECT_EQ(all_of(notices), "");
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].on, (std::vector<std::string>{"p2", "p3"}));
  ASSERT_NE(groups[0].volumes[0].device, nullptr) << groups[0].volumes[0].why_not;
  EXPECT_EQ(read_all(*groups[0].volumes[0].device),
            joined(extents(first, 8, 2), extents(bytes, 5, 2)));
}

TEST(VolumeGroups, AMissingPhysicalVolumeIsNamed) {
  Notices notices;
  const auto groups =
      find_volume_groups({{"p3", device_of(volume_of(two_volumes(), kFirst))}}, notices);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].missing, std::vector<std::string>{test::dashed(kSecond)});
  EXPECT_NE(all_of(notices).find(test::dashed(kSecond) + " is not in the image"),
            std::string::npos);
  EXPECT_EQ(groups[0].volumes[0].device, nullptr);
  EXPECT_NE(groups[0].volumes[0].why_not.find(test::dashed(kSecond)), std::string::npos);
  EXPECT_NE(groups[0].volumes[1].device, nullptr) << "it does not need what is missing";
}

TEST(VolumeGroups, TheNewestMetadataCount) {
  GroupText old = two_volumes("6");
  old.logical = {logical_section("gone", {{"0", "1", "striped", on("pv1", 0)}})};
  Notices notices;
  const auto groups = find_volume_groups({{"p2", device_of(volume_of(old, kSecond))},
                                          {"p3", device_of(volume_of(two_volumes("8"), kFirst))}},
                                         notices);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].volumes.size(), 2U);
  EXPECT_NE(all_of(notices).find("the newest is used"), std::string::npos);
}

TEST(VolumeGroups, APhysicalVolumeThereTwiceIsRefused) {
  const ByteVector bytes = volume_of(one_volume());
  Notices notices;
  const auto groups =
      find_volume_groups({{"p3", device_of(bytes)}, {"p4", device_of(bytes)}}, notices);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].volumes[0].device, nullptr);
  EXPECT_NE(groups[0].volumes[0].why_not.find("more than once, on p3 and p4"), std::string::npos);
}

TEST(VolumeGroups, GroupsOfOneNameAreToldApart) {
  GroupText other = one_volume();
  other.uuid = "GROUP2";
  other.physical = {physical_section("pv0", kSecond)};
  Notices notices;
  const auto groups = find_volume_groups(
      {{"p3", device_of(volume_of(one_volume()))}, {"p4", device_of(volume_of(other, kSecond))}},
      notices);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].name, "vg@p3");
  EXPECT_EQ(groups[1].name, "vg@p4");
}

// A group cannot claim a volume that says it is another one's.
TEST(VolumeGroups, AForeignPhysicalVolumeIsNotClaimed) {
  GroupText thief = two_volumes();
  thief.uuid = "GROUP2";
  GroupText owner = one_volume();
  owner.physical = {physical_section("pv0", kSecond)};
  Notices notices;
  const auto groups = find_volume_groups(
      {{"p3", device_of(volume_of(thief, kFirst))}, {"p4", device_of(volume_of(owner, kSecond))}},
      notices);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].missing.size() + groups[1].missing.size(), 1U);
}

TEST(VolumeGroups, WhatLvmGaveUpOrWasCutOffIsRefused) {
  GroupText group = one_volume();
  group.physical = {physical_section("pv0", kFirst, "2048", "48", "[\"MISSING\"]")};
  Notices notices;
  auto groups = find_volume_groups({{"p4", device_of(volume_of(group))}}, notices);
  EXPECT_NE(groups.at(0).volumes.at(0).why_not.find("lvm had lost"), std::string::npos);

  ByteVector cut = volume_of(one_volume());
  cut.resize(kMiB + 9 * kExtent + 100);
  groups = find_volume_groups({{"p4", device_of(cut)}}, notices);
  EXPECT_NE(groups.at(0).volumes.at(0).why_not.find("which has only"), std::string::npos);
}

// Data that lie over the label or the metadata would be written there, too.
TEST(VolumeGroups, DataOverMetadataIsRefused) {
  for (const char* start : {"0", "2", "100"}) {
    GroupText group;
    group.physical = {physical_section("pv0", kFirst, start)};
    group.logical = {logical_section("root", {{"0", "1", "striped", on("pv0", 0)}})};
    Notices notices;
    const auto groups = find_volume_groups({{"p4", device_of(volume_of(group))}}, notices);
    EXPECT_NE(groups.at(0).volumes.at(0).why_not.find("overlaps the metadata"), std::string::npos)
        << start;
  }
}

// --- labels and metadata areas ---

class Member : public testing::Test {
 protected:
  static LvmVolume two_areas() {
    LvmVolume volume;
    volume.areas = {4096, 4 * kMiB - 65536};
    volume.text = one_volume().text();
    return volume;
  }
  Result<LvmMember> read(const ByteVector& bytes) {
    MemoryDevice device(bytes);
    return read_lvm_member(device, text_budget_, notices_);
  }
  void expect_error(const ByteVector& bytes, const std::string& says) {
    const auto member = read(bytes);
    ASSERT_FALSE(member.ok()) << says;
    EXPECT_NE(member.error().message().find(says), std::string::npos) << member.error().message();
  }
  std::uint64_t text_budget_ = kMaxLvmTextBytesOfImage;
  Notices notices_;
};

TEST_F(Member, NoMoreTextIsReadThanTheBudgetHas) {
  const LvmVolume volume = two_areas();
  text_budget_ = volume.text.size() + 1;
  const auto member = read(make_physical_volume(volume));
  ASSERT_TRUE(member.ok()) << member.error().message();
  EXPECT_EQ(member->texts.size(), 1U);
  EXPECT_EQ(text_budget_, 1U);
  EXPECT_NE(all_of(notices_).find("the rest is not read"), std::string::npos);
  expect_error(make_physical_volume(volume), "the rest is not read");
}

TEST_F(Member, MoreAreasThanLvmMakes) {
  LvmVolume volume = two_areas();
  volume.areas.push_back(2 * kMiB);
  expect_error(make_physical_volume(volume), "3 metadata areas, and there are at most 2");
}

TEST_F(Member, TheLabelMayBeInAnyOfFourSectors) {
  for (std::size_t sector = 0; sector < 4; ++sector) {
    LvmVolume volume = two_areas();
    volume.label_sector = sector;
    const auto member = read(make_physical_volume(volume));
    ASSERT_TRUE(member.ok()) << member.error().message();
    EXPECT_EQ(member->uuid, test::dashed(kFirst));
    EXPECT_EQ(member->texts.size(), 2U);
  }
}

TEST_F(Member, ATextThatGoesRoundTheEnd) {
  LvmVolume volume = two_areas();
  volume.text_at = 65536 - 100;
  const auto member = read(make_physical_volume(volume));
  ASSERT_TRUE(member.ok()) << member.error().message();
  EXPECT_EQ(member->texts.at(0), volume.text);
}

TEST_F(Member, TheSecondAreaStandsInForTheFirst) {
  ByteVector bytes = make_physical_volume(two_areas());
  bytes[4096 + 700] ^= std::byte{1};
  const auto member = read(bytes);
  ASSERT_TRUE(member.ok()) << member.error().message();
  EXPECT_EQ(member->texts.size(), 1U);
  EXPECT_NE(all_of(notices_).find("the other copy is used"), std::string::npos);
}

TEST_F(Member, BothAreasBad) {
  ByteVector bytes = make_physical_volume(two_areas());
  bytes[4096 + 700] ^= std::byte{1};
  bytes[4 * kMiB - 65536 + 700] ^= std::byte{1};
  expect_error(bytes, "the checksum of its text is wrong");
}

TEST_F(Member, AnAreaThatIsSetAsideIsNotUsed) {
  LvmVolume volume = two_areas();
  volume.areas = {4096};
  ByteVector bytes = make_physical_volume(volume);
  test::put_le<std::uint32_t>(bytes, 4096 + 60, 1);
  test::seal_area(bytes, 4096);
  const auto member = read(bytes);
  ASSERT_TRUE(member.ok()) << member.error().message();
  EXPECT_TRUE(member->texts.empty());
}

TEST_F(Member, LabelsThatLie) {
  const ByteVector good = make_physical_volume(two_areas());
  ByteVector bytes = good;
  bytes[512 + 100] ^= std::byte{1};
  expect_error(bytes, "lvm label: its checksum is wrong");
  bytes = good;
  test::put_le<std::uint64_t>(bytes, 512 + 8, 2);
  test::seal_label(bytes, 1);
  expect_error(bytes, "it was written for sector 2, not 1");
  for (const std::uint32_t offset : {0U, 31U, 473U, 512U, 0xffffffffU}) {
    bytes = good;
    test::put_le<std::uint32_t>(bytes, 512 + 20, offset);
    test::seal_label(bytes, 1);
    expect_error(bytes, "the header does not lie in the label's sector");
  }
  bytes = good;
  for (std::size_t at = 512 + 72; at < 1024; at += 8) test::put_le<std::uint64_t>(bytes, at, 4096);
  test::seal_label(bytes, 1);
  expect_error(bytes, "its list of areas does not end");
  expect_error(ByteVector(300), "there is none");
}

TEST_F(Member, AreasThatLie) {
  LvmVolume volume = two_areas();
  volume.areas = {4096};
  const ByteVector good = make_physical_volume(volume);
  const auto changed = [&](std::size_t at, std::uint64_t value, bool label) {
    ByteVector bytes = good;
    test::put_le(bytes, at, value);
    if (label) {
      test::seal_label(bytes, 1);
    } else {
      test::seal_area(bytes, 4096);
    }
    return bytes;
  };
  constexpr std::uint64_t kMost = ~std::uint64_t{0};
  const std::size_t area = 512 + 72 + 32;
  expect_error(changed(area, kMost, true), "do not lie on");
  expect_error(changed(area + 8, kMost, true), "do not lie on");
  expect_error(changed(area + 8, 512, true), "do not lie on");
  expect_error(changed(area + 8, 65536 + 512, true), "disagree on where it lies");
  expect_error(changed(4096 + 24, 8192, false), "disagree on where it lies");
  expect_error(changed(4096 + 40, kMost, false), "does not lie in it");
  expect_error(changed(4096 + 40, 65536, false), "does not lie in it");
  expect_error(changed(4096 + 40, 100, false), "does not lie in it");
  expect_error(changed(4096 + 48, kMost, false), "does not lie in it");
  expect_error(changed(4096 + 48, 0, false), "does not lie in it");
  ByteVector bytes = good;
  bytes[4096 + 10] ^= std::byte{1};
  test::seal_area(bytes, 4096);
  expect_error(bytes, "its header is not sound");
  bytes = good;
  test::put_le<std::uint32_t>(bytes, 4096 + 20, 2);
  test::seal_area(bytes, 4096);
  expect_error(bytes, "version 2 is not known");
}

}  // namespace
}  // namespace latchkey::engine
