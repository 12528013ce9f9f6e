// Headers saved, restored, checked and repaired; and the power failing while one is restored.
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks_check.h"
#include "keyslots/luks/luks_header_copy.h"
#include "tests/keyslots/luks_builder.h"
#include "tests/keyslots/luks_write_fixture.h"
#include "tests/support/recording_device.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using test::ByteVector;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kMiB = std::size_t{1} << 20;

engine::Result<void> repair(engine::BlockDevice& device, const keyslots::RepairOptions& options,
                            engine::Notices& done) {
  auto plan = keyslots::plan_luks_repair(device, options);
  if (!plan) return std::move(plan).error();
  done.append(plan->done);
  return plan->needed() ? keyslots::carry_out_repair(device, *plan) : engine::Result<void>();
}

class LuksHeader : public testing::TestWithParam<unsigned> {
 protected:
  static keyslots::LuksFormatOptions options() {
    auto options = test::cheap_options(GetParam());
    options.key_bytes = 32;
    return options;
  }
  std::size_t payload_at() const { return (GetParam() == 1 ? 2 : 16) * kMiB; }

  void SetUp() override {
    device_ = std::make_shared<engine::MemoryDevice>(ByteVector(payload_at() + 4096), true);
    auto made = test::format_luks(GetParam(), *device_, options(), "one");
    ASSERT_TRUE(made.ok()) << made.error().message();
    key_ = std::move(made->volume_key);
  }
  std::unique_ptr<keyslots::LuksKeyslots> slots(engine::BlockDevice& device) {
    auto slots = keyslots::open_luks_keyslots(device);
    EXPECT_TRUE(slots.ok()) << slots.error().message();
    return slots ? std::move(*slots) : nullptr;
  }
  void add(const std::string& secret, std::optional<unsigned> slot = std::nullopt) {
    auto added = slots(*device_)->add(key_, engine::as_bytes(secret), test::cheap_kdf(), slot);
    ASSERT_TRUE(added.ok()) << added.error().message();
  }
  ByteVector saved() {
    auto bytes = keyslots::read_luks_header_place(*device_);
    EXPECT_TRUE(bytes.ok());
    return std::move(*bytes);
  }
  static std::vector<std::string> keys_of(const ByteVector& image) {
    std::vector<std::string> found;
    for (const char* secret : {"one", "two", "three"}) {
      const auto volume =
          test::open_volume({std::make_shared<engine::MemoryDevice>(image), nullptr},
                            test::ring_of(test::passphrase(secret)));
      if (volume.plain != nullptr) found.emplace_back(secret);
    }
    return found;
  }
  // What is not in order, as "where: text".
  static std::vector<std::string> wrong_with(engine::BlockDevice& device) {
    engine::Notices findings;
    keyslots::check_luks_header(device, findings);
    std::vector<std::string> wrong;
    for (const engine::Notice& one : findings.items()) {
      if (one.severity != engine::Notice::Severity::kNote) {
        wrong.push_back(one.where + ": " + one.text);
      }
    }
    return wrong;
  }

  std::shared_ptr<engine::MemoryDevice> device_;
  engine::SecretBytes key_;
};

TEST_P(LuksHeader, ARestoredBackupHasItsKeysAgain) {
  add("two");
  const ByteVector backup = saved();
  ASSERT_TRUE(slots(*device_)->remove(0).ok());
  ASSERT_TRUE(slots(*device_)->change(key_, 1, engine::as_bytes("three"), test::cheap_kdf()).ok());
  ASSERT_THAT(keys_of(device_->copy_bytes()), ElementsAre("three"));
  auto done = keyslots::restore_luks_header(*device_, backup, false);
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_THAT(keys_of(device_->copy_bytes()), ElementsAre("one", "two"));
  EXPECT_THAT(wrong_with(*device_), IsEmpty());
  // Onto nothing at all, too.
  engine::MemoryDevice empty(ByteVector(payload_at() + 4096), true);
  ASSERT_TRUE(keyslots::restore_luks_header(empty, backup, false).ok());
  EXPECT_THAT(keys_of(empty.copy_bytes()), ElementsAre("one", "two"));
}

TEST_P(LuksHeader, APowerCutWhileRestoringLeavesTheOldKeysOrTheBackups) {
  const std::uint64_t seed = test::test_seed();
  for (const bool other_slots : {false, true}) {
    SCOPED_TRACE(other_slots);
    SetUp();
    const ByteVector backup = saved();
    if (other_slots) add("two");
    // The only slot of the backup now holds another key.
    auto changed = slots(*device_)->change(key_, 0, engine::as_bytes("three"), test::cheap_kdf());
    ASSERT_TRUE(changed.ok());
    const ByteVector initial = device_->copy_bytes();
    auto memory = std::make_shared<engine::MemoryDevice>(initial, true);
    auto recorder = std::make_shared<test::RecordingDevice>(memory);
    ASSERT_TRUE(keyslots::restore_luks_header(*recorder, backup, false).ok());
    EXPECT_THAT(keys_of(memory->copy_bytes()), ElementsAre("one"));
    std::mt19937_64 random(seed);
    for (std::size_t cut = 0; cut <= recorder->count(); ++cut) {
      const test::CrashImages images(initial, recorder->log(), cut);
      for (const ByteVector& image :
           {images.everything(), images.nothing_unsynced(), images.some(random)}) {
        ASSERT_FALSE(keys_of(image).empty()) << "cut after operation " << cut;
      }
    }
  }
}

TEST_P(LuksHeader, ABackupThatCannotBeIsRefused) {
  const ByteVector before = device_->copy_bytes();
  ByteVector backup = saved();
  ByteVector cut = backup;
  cut.resize(cut.size() - 4096);
  EXPECT_EQ(keyslots::restore_luks_header(*device_, cut, false).error().code(),
            ErrorCode::kDamaged);
  std::fill_n(backup.begin(), 65536, std::byte{0});
  EXPECT_EQ(keyslots::restore_luks_header(*device_, backup, false).error().code(),
            ErrorCode::kDamaged);
  engine::MemoryDevice small(ByteVector(kMiB), true);
  EXPECT_EQ(keyslots::restore_luks_header(small, saved(), false).error().code(), ErrorCode::kUsage);
  EXPECT_TRUE(test::same_bytes(device_->copy_bytes(), before));
}

// In place of a header that can be used: not without being told to.
TEST(Luks1Restore, ABackupThatNoKeyOpensIsRefused) {
  engine::MemoryDevice device(ByteVector(3 * kMiB), true);
  auto options = test::cheap_options(1);
  options.key_bytes = 32;
  ASSERT_TRUE(test::format_luks(1, device, options, "one").ok());
  auto backup = keyslots::read_luks_header_place(device);
  ASSERT_TRUE(backup.ok());
  engine::store_be<std::uint32_t>(engine::MutableBytes(*backup), 208, 0x0000dead);
  for (const auto& restore : {keyslots::check_luks_restore, keyslots::restore_luks_header}) {
    const auto refused = restore(device, *backup, false);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kRefused);
    EXPECT_THAT(refused.error().message(), HasSubstr("no key slot of the backup is in use"));
  }
  EXPECT_TRUE(keyslots::check_luks_restore(device, *backup, true).ok());
}

TEST_P(LuksHeader, OfAnotherVolumeSaysSo) {
  const auto mine = test::probe({device_, nullptr});
  SetUp();
  const auto other = test::probe({device_, nullptr});
  const auto why = keyslots::why_backup_differs(mine.header->facts(), other.header->facts());
  ASSERT_EQ(why.size(), 1U);
  EXPECT_THAT(why.front(), HasSubstr("uuid"));
  EXPECT_THAT(keyslots::why_backup_differs(mine.header->facts(), mine.header->facts()), IsEmpty());
}

TEST_P(LuksHeader, OverwrittenKeyMaterialStandsOut) {
  add("two");
  EXPECT_THAT(wrong_with(*device_), IsEmpty());
  const std::size_t first = GetParam() == 1 ? 4096 : 32768;
  // 64 bytes of text within one sector.
  ASSERT_TRUE(device_->write(first + 5 * 512 + 100, engine::as_bytes(std::string(64, 'x'))).ok());
  const auto wrong = wrong_with(*device_);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_THAT(wrong.front(), HasSubstr("keyslot 0: 1 of 250 sectors"));
  EXPECT_THAT(wrong.front(), HasSubstr(std::to_string(first + 5 * 512)));
}

TEST_P(LuksHeader, NothingToRepairChangesNothing) {
  const ByteVector before = device_->copy_bytes();
  engine::Notices done;
  ASSERT_TRUE(repair(*device_, {}, done).ok());
  EXPECT_THAT(done.items(), IsEmpty());
  EXPECT_TRUE(test::same_bytes(device_->copy_bytes(), before));
}

INSTANTIATE_TEST_SUITE_P(Versions, LuksHeader, testing::Values(1U, 2U),
                         [](const auto& one) { return fmt::format("Luks{}", one.param); });

TEST(SectorsNotRandom, RandomOnesAreNotTakenForOverwrittenOnes) {
  const auto noise = test::random_bytes(8 * kMiB, test::test_seed());
  EXPECT_THAT(keyslots::sectors_not_random(noise), IsEmpty());
  ByteVector spoiled = noise;
  std::fill_n(spoiled.begin() + 1024, 40, std::byte{7});
  EXPECT_THAT(keyslots::sectors_not_random(spoiled), ElementsAre(1024U));
  EXPECT_THAT(keyslots::sectors_not_random(ByteVector(1024)), ElementsAre(0U, 512U));
}

TEST(Luks2Repair, ABadCopyIsWrittenFromTheGoodOne) {
  for (const std::size_t bad : {std::size_t{0}, test::kLuks2CopyBytes}) {
    for (const std::size_t at :
         {std::size_t{0}, std::size_t{20}, std::size_t{460}, std::size_t{5000}}) {
      SCOPED_TRACE(fmt::format("copy at {}, byte {}", bad, at));
      engine::MemoryDevice device(test::luks2_image(), true);
      const std::byte wrong{0xee};
      ASSERT_TRUE(device.write(bad + at, {&wrong, 1}).ok());
      engine::Notices found;
      keyslots::check_luks_header(device, found);
      EXPECT_TRUE(std::any_of(found.items().begin(), found.items().end(), [](const auto& one) {
        return one.severity == engine::Notice::Severity::kWarning;
      }));
      engine::Notices done;
      auto repaired = repair(device, {}, done);
      ASSERT_TRUE(repaired.ok()) << repaired.error().message();
      EXPECT_EQ(done.items().size(), 1U);
      const auto copies = keyslots::read_luks2_copies(device);
      ASSERT_TRUE(copies.first.sound() && copies.second.sound());
      EXPECT_EQ(copies.first.json(), copies.second.json());
      EXPECT_EQ(copies.first.header->sequence, 3U);
      EXPECT_EQ(copies.second.header->sequence, 3U);
    }
  }
}

TEST(Luks2Repair, NoGoodCopyNoRepair) {
  ByteVector image = test::luks2_image();
  image[5000] ^= std::byte{1};
  image[test::kLuks2CopyBytes + 5000] ^= std::byte{1};
  engine::MemoryDevice device(image, true);
  engine::Notices done;
  EXPECT_EQ(repair(device, {}, done).error().code(), ErrorCode::kDamaged);
  EXPECT_TRUE(test::same_bytes(device.copy_bytes(), image));
}

TEST(Luks2Repair, ADeviceThatWasReusedIsLeftAlone) {
  ByteVector image = test::luks2_image();
  std::fill_n(image.begin(), 4096, std::byte{0});
  image[510] = std::byte{0x55};
  image[511] = std::byte{0xaa};
  engine::MemoryDevice device(image, true);
  engine::Notices done;
  EXPECT_EQ(repair(device, {}, done).error().code(), ErrorCode::kRefused);
  EXPECT_TRUE(test::same_bytes(device.copy_bytes(), image));
  EXPECT_EQ(keyslots::overwritten_luks2(device), "11111111-2222-3333-4444-555555555555");
  engine::Notices found;
  keyslots::check_luks_header(device, found);
  EXPECT_TRUE(test::has_notice(found, "it wants --force"));
  ASSERT_TRUE(repair(device, {.device_was_reused = true}, done).ok());
  EXPECT_TRUE(keyslots::read_luks2_copies(device).first.sound());
}

TEST(Luks1Repair, SmallDamageIsMended) {
  // A layout cryptsetup makes for keys of 32 bytes: 128000 bytes a slot, rounded up to 4096.
  ByteVector whole = test::luks1_header();
  const auto number = [&](ByteVector& bytes, std::size_t at, std::uint32_t value) {
    engine::store_be(engine::MutableBytes(bytes), at, value);
  };
  for (std::uint32_t i = 0; i < 8; ++i) number(whole, 208 + 48 * i + 40, 8 + 256 * i);
  std::fill_n(whole.begin() + 208 + 8, 32, std::byte{0x42});  // slot 0 has a salt
  const struct {
    const char* what;
    std::size_t at;
    std::uint32_t value;
    const char* said;
  } damages[] = {{"magic", 0, 0x4c554b00, "first bytes"},
                 {"state of a used slot", 208, 0x12345678, "in use again"},
                 {"state of an unused slot", 256, 0x12345678, "not in use again"},
                 {"stripes", 208 + 44, 0xffffffff, "stripes"},
                 {"offset", 256 + 40, 3, "place of its key material"},
                 {"hash in capitals", 72, 0x53484132, "hash"}};
  for (const auto& damage : damages) {
    SCOPED_TRACE(damage.what);
    ByteVector broken = whole;
    number(broken, damage.at, damage.value);
    broken.resize(8 * kMiB);
    engine::MemoryDevice device(broken, true);
    engine::Notices done;
    auto repaired = repair(device, {}, done);
    ASSERT_TRUE(repaired.ok()) << repaired.error().message();
    ASSERT_EQ(done.items().size(), 1U);
    EXPECT_THAT(done.items().front().text, HasSubstr(damage.said));
    ByteVector now = device.copy_bytes();
    now.resize(whole.size());
    EXPECT_TRUE(test::same_bytes(now, whole));
  }
  ByteVector hopeless = whole;
  number(hopeless, 108, 0x7fffffff);
  engine::Notices done;
  EXPECT_EQ(keyslots::mended_luks1_header(hopeless, done).error().code(), ErrorCode::kDamaged);
}

class LuksHeaderPeers : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  }
};

TEST_F(LuksHeaderPeers, BackupsGoBothWays) {
  for (const unsigned version : {1U, 2U}) {
    SCOPED_TRACE(version);
    const test::TempDir dir;
    const std::string pw = " --batch-mode --disable-locks ";
    test::write_file(dir / "pw", ByteVector(4, std::byte{'z'}));
    ASSERT_EQ(test::run_in(dir, fmt::format("truncate -s 18M v && cryptsetup luksFormat --type "
                                            "luks{} v{}{}",
                                            version, test::kQuiet, test::kCheapPbkdf2)),
              0);
    auto device = std::make_shared<engine::MemoryDevice>(test::bytes_of_file(dir / "v"), true);
    auto ours = keyslots::read_luks_header_place(*device);
    ASSERT_TRUE(ours.ok());
    test::write_file(dir / "ours", *ours);
    ASSERT_EQ(test::run_in(dir,
                           "cryptsetup luksHeaderBackup v --header-backup-file theirs"
                           " --disable-locks && cmp ours theirs"),
              0)
        << test::log_of(dir);
    // Ours, put back by cryptsetup over a header that is gone.
    ASSERT_EQ(test::run_in(dir,
                           "dd if=/dev/zero of=v bs=1M count=1 conv=notrunc && cryptsetup "
                           "luksHeaderRestore v --header-backup-file ours" +
                               pw +
                               "&& cryptsetup open --test-passphrase v --disable-locks "
                               "--key-file pw"),
              0)
        << test::log_of(dir);
  }
}

}  // namespace
}  // namespace latchkey
