// From an image file to its exports: which there are, which is the default, and what `disk` shows
// once some of its partitions are unlocked.
#include "tools/image.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/partition_builder.h"
#include "tests/support/test_bytes.h"
#include "tools/info_report.h"

namespace latchkey::tools {
namespace {

using engine::IoCode;
using test::ByteVector;

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint64_t kSector = 512;

// A disk with two LUKS volumes of 8 MiB (keys "one" and "two") as partitions 1 and 2, and 1 MiB of
// noise as partition 3.
class TwoVolumes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    test::GptDisk gpt;
    gpt.sectors = 24 * kMiB / kSector;
    gpt.parts = {{kMiB / kSector, 9 * kMiB / kSector - 1},
                 {10 * kMiB / kSector, 18 * kMiB / kSector - 1},
                 {19 * kMiB / kSector, 20 * kMiB / kSector - 1}};
    ByteVector disk = test::make_gpt_disk(gpt);
    put(disk, kMiB, volume("one"));
    put(disk, 10 * kMiB, volume("two"));
    put(disk, 19 * kMiB, test::random_bytes(kMiB, 5));
    test::write_file(path_, disk);
  }

  ByteVector volume(const std::string& key) {
    const std::string file = dir_ / key;
    test::write_file(dir_ / (key + ".key"), as_vector(key));
    EXPECT_TRUE(test::shell("truncate -s 8M " + file +
                            " && cryptsetup luksFormat -q --type luks2 --sector-size 4096 "
                            "--luks2-metadata-size 16k --luks2-keyslots-size 512k "
                            "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 " +
                            file + " " + file + ".key"));
    return test::read_file(file);
  }

  static ByteVector as_vector(const std::string& text) {
    const auto bytes = engine::as_bytes(text);
    return {bytes.begin(), bytes.end()};
  }
  static void put(ByteVector& disk, std::uint64_t offset, const ByteVector& bytes) {
    std::copy(bytes.begin(), bytes.end(), disk.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  Image survey(engine::Access access = engine::Access::kReadWrite) {
    auto image = survey_image(path_, {access, "", false, std::nullopt});
    EXPECT_TRUE(image.ok()) << image.error().message();
    return std::move(*image);
  }

  static std::size_t unlock(Image& image, const std::vector<std::string>& keys,
                            std::optional<unsigned> only = std::nullopt) {
    auto secrets = std::make_unique<keyslots::FixedSecrets>();
    for (const std::string& key : keys) {
      secrets->add({keyslots::SecretKind::kKeyFile,
                    engine::SecretBytes::copy_of(engine::as_bytes(key)), key});
    }
    keyslots::KeyRing ring;
    ring.add(std::move(secrets));
    return unlock_image(image, ring, {}, only);
  }

  test::TempDir dir_;
  const std::string path_ = dir_ / "disk.raw";
};

TEST_F(TwoVolumes, NothingIsLockedOrUnlockedByLooking) {
  Image image = survey(engine::Access::kInspect);
  ASSERT_EQ(image.partitions.size(), 3U);
  EXPECT_EQ(image.encrypted().size(), 2U);
  EXPECT_TRUE(all_usable(image));
  EXPECT_NE(info_text(image).find("p2: LUKS2"), std::string::npos);
  EXPECT_NE(next_command(image).find("--partition 1"), std::string::npos);
}

TEST_F(TwoVolumes, TheDefaultIsTheOneUnlockedVolume) {
  Image image = survey();
  ASSERT_EQ(unlock(image, {"two"}), 1U);
  EXPECT_FALSE(image.partitions[0].volume->open());
  EXPECT_EQ(image.partitions[0].volume->error->code(), engine::ErrorCode::kWrongKey);
  const frontends::ExportList exports = make_exports(image, std::nullopt);
  ASSERT_EQ(exports.exports.size(), 4U);
  EXPECT_EQ(exports.default_export().name, "p2");
  EXPECT_EQ(make_exports(image, 3U).default_export().name, "p3") << "what the user names wins";
  EXPECT_EQ(exports.find("p2")->device, image.partitions[1].volume->plaintext);
  EXPECT_EQ(exports.find("p4"), nullptr);
}

TEST_F(TwoVolumes, TwoUnlockedOnesMakeTheDiskTheDefault) {
  Image image = survey();
  ASSERT_EQ(unlock(image, {"one", "two"}), 2U);
  EXPECT_EQ(make_exports(image, std::nullopt).default_export().name, "disk");
}

TEST_F(TwoVolumes, OnlyTheNamedPartitionIsOpened) {
  Image image = survey();
  ASSERT_EQ(unlock(image, {"one", "two"}, 2U), 1U);
  EXPECT_FALSE(image.partitions[0].volume->open());
  EXPECT_TRUE(image.partitions[1].volume->open());
}

// Plaintext at its partition's first byte, zeros that take no write behind it, ciphertext where it
// stays locked, and everything else as it lies on the disk.
TEST_F(TwoVolumes, TheDiskShowsPlaintextInPlace) {
  const ByteVector raw = test::read_file(path_);
  Image image = survey();
  ASSERT_EQ(unlock(image, {"two"}), 1U);
  const engine::DevicePtr plain = image.partitions[1].volume->plaintext;
  const ByteVector data = test::random_bytes(plain->size_bytes(), 6);
  ASSERT_TRUE(plain->write(0, data).ok());

  const frontends::ExportList exports = make_exports(image, std::nullopt);
  const engine::DevicePtr disk = exports.find("disk")->device;
  ASSERT_EQ(disk->size_bytes(), raw.size());
  ByteVector expected = raw;
  std::fill_n(expected.begin() + 10 * kMiB, 8 * kMiB, std::byte{0});
  put(expected, 10 * kMiB, data);
  ByteVector got(raw.size());
  ASSERT_TRUE(disk->read(0, got).ok());
  EXPECT_TRUE(got == expected);

  const std::uint64_t tail = 10 * kMiB + plain->size_bytes();
  EXPECT_EQ(disk->write(tail, ByteVector(1)).code(), IoCode::kSealed);
  EXPECT_EQ(disk->write(tail - 10, ByteVector(20)).code(), IoCode::kSealed);
  ByteVector last(10);
  ASSERT_TRUE(plain->read(plain->size_bytes() - 10, last).ok());
  EXPECT_TRUE(std::equal(last.begin(), last.end(), data.end() - 10)) << "nothing was written";

  // Both views are the same bytes.
  ASSERT_TRUE(disk->write(10 * kMiB + 777, ByteVector(5, std::byte{0xee})).ok());
  ByteVector seen(5);
  ASSERT_TRUE(plain->read(777, seen).ok());
  EXPECT_EQ(seen, ByteVector(5, std::byte{0xee}));
}

TEST_F(TwoVolumes, AReadOnlyImageStaysAsItIs) {
  const ByteVector raw = test::read_file(path_);
  {
    Image image = survey(engine::Access::kReadOnly);
    ASSERT_EQ(unlock(image, {"one", "two"}), 2U);
    const frontends::ExportList exports = make_exports(image, std::nullopt);
    for (const frontends::Export& one : exports.exports) {
      EXPECT_EQ(one.device->write(0, ByteVector(1)).code(), IoCode::kReadOnly) << one.name;
      EXPECT_EQ(one.device->discard(0, 4096).code(), IoCode::kReadOnly) << one.name;
      ByteVector first(4096);
      EXPECT_TRUE(one.device->read(0, first).ok()) << one.name;
    }
  }
  EXPECT_TRUE(test::read_file(path_) == raw);
}

TEST_F(TwoVolumes, APartitionThatIsNotThereIsAUsageError) {
  const auto image = survey_image(path_, {engine::Access::kReadOnly, "", false, 7U});
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(image.error().code(), engine::ErrorCode::kUsage);
  EXPECT_NE(image.error().message().find("no partition 7"), std::string::npos);
}

// A detached header belongs to the one partition that nothing else explains.
TEST_F(TwoVolumes, ADetachedHeaderFindsItsPartition) {
  const std::string header = dir_ / "header";
  const std::string key = dir_ / "one.key";
  ASSERT_TRUE(test::shell("truncate -s 1M " + (dir_ / "payload").string() +
                          " && cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 "
                          "--pbkdf-force-iterations 1000 --header " +
                          header + " " + (dir_ / "payload").string() + " " + key));
  // Partitions 1 and 2 are LUKS volumes themselves, so it could be any of the three.
  const auto unclear =
      survey_image(path_, {engine::Access::kReadOnly, header, false, std::nullopt});
  ASSERT_FALSE(unclear.ok());
  EXPECT_NE(unclear.error().message().find("p1, p2, p3"), std::string::npos);
  auto image = survey_image(path_, {engine::Access::kReadOnly, header, false, 3U});
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_TRUE(image->partitions[2].volume->header->facts().detached);
  EXPECT_EQ(unlock(*image, {"one"}, 3U), 1U);
  EXPECT_EQ(image->partitions[2].volume->plaintext->size_bytes(), kMiB) << "payload offset 0";
}

TEST(WholeDiskVolume, TheDiskIsTheVolume) {
  if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  test::TempDir dir;
  const std::string path = dir / "luks.raw";
  test::write_file(dir / "key", ByteVector(16, std::byte{1}));
  ASSERT_TRUE(
      test::shell("truncate -s 8M " + path +
                  " && cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 " +
                  path + " " + (dir / "key").string()));
  auto image = survey_image(path, {});
  ASSERT_TRUE(image.ok());
  auto secrets = std::make_unique<keyslots::FixedSecrets>();
  secrets->add({keyslots::SecretKind::kKeyFile,
                engine::SecretBytes::copy_of(ByteVector(16, std::byte{1})), "key"});
  keyslots::KeyRing ring;
  ring.add(std::move(secrets));
  ASSERT_EQ(unlock_image(*image, ring, {}, std::nullopt), 1U);
  const frontends::ExportList exports = make_exports(*image, std::nullopt);
  ASSERT_EQ(exports.exports.size(), 1U);
  EXPECT_EQ(exports.default_export().device, image->disk.volume->plaintext);
}

}  // namespace
}  // namespace latchkey::tools
