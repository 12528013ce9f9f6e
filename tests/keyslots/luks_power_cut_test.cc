// The power fails at any write of any operation on key slots, and what was not synced is lost,
// reordered or torn: the volume opens with the old key, the new key or both, and its data is right.
#include <functional>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "keyslots/keys/recovery_passphrase.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks_check.h"
#include "tests/keyslots/luks_write_fixture.h"
#include "tests/support/recording_device.h"

namespace latchkey {
namespace {

using keyslots::LuksKeyslots;
using test::ByteVector;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kPayloadBytes = 64 * 1024;

struct Operation {
  const char* name;
  // `opens_with`: which secrets may open the volume afterwards, in the middle, and before.
  std::vector<std::string> before;
  std::vector<std::string> after;
  std::function<engine::Result<void>(LuksKeyslots&, const engine::SecretBytes&)> run;
};

engine::Result<void> dropped(engine::Result<unsigned> slot) {
  return slot ? engine::Result<void>() : engine::Result<void>(std::move(slot).error());
}

std::vector<Operation> operations() {
  const auto add = [](LuksKeyslots& slots, const engine::SecretBytes& key) {
    return dropped(slots.add(key, engine::as_bytes("second"), test::cheap_kdf(), std::nullopt));
  };
  // The slot of LUKS1 that lies over the border of two sectors.
  const auto add_six = [](LuksKeyslots& slots, const engine::SecretBytes& key) {
    return dropped(slots.add(key, engine::as_bytes("second"), test::cheap_kdf(), 6));
  };
  const auto change = [](LuksKeyslots& slots, const engine::SecretBytes& key) {
    return dropped(slots.change(key, 0, engine::as_bytes("second"), test::cheap_kdf()));
  };
  const auto add_and_remove = [add](LuksKeyslots& slots, const engine::SecretBytes& key) {
    if (auto r = add(slots, key); !r) return r;
    return slots.remove(0);
  };
  // What `key enroll-recovery` does, and what LUKS2 alone can hold.
  const auto add_with_token = [](LuksKeyslots& slots, const engine::SecretBytes& key) {
    auto slot = slots.add(key, engine::as_bytes("second"), test::cheap_kdf(), std::nullopt);
    if (!slot || slots.version() == 1) return dropped(std::move(slot));
    if (auto r = slots.add_token(keyslots::kRecoveryToken, *slot); !r) return r;
    if (auto r = slots.set_priority(*slot, 2); !r) return r;
    return slots.set_label("renamed");
  };
  return {{"add", {"first"}, {"first", "second"}, add},
          {"add with a token", {"first"}, {"first", "second"}, add_with_token},
          {"add to slot 6", {"first"}, {"first", "second"}, add_six},
          {"change", {"first"}, {"second"}, change},
          {"add, remove", {"first"}, {"second"}, add_and_remove}};
}

class LuksPowerCut : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    seed_ = test::test_seed();
    const std::size_t payload_at = GetParam() == 1 ? 2 * kMiB : 16 * kMiB;
    auto memory =
        std::make_shared<engine::MemoryDevice>(ByteVector(payload_at + kPayloadBytes), true);
    auto options = test::cheap_options(GetParam());
    options.key_bytes = 32;  // half the material to copy around
    auto formatted = test::format_luks(GetParam(), *memory, options, "first");
    ASSERT_TRUE(formatted.ok()) << formatted.error().message();
    ASSERT_LE(formatted->payload_offset, payload_at);
    volume_key_ = std::move(formatted->volume_key);
    plain_ = test::random_bytes(memory->size_bytes() - formatted->payload_offset, seed_);
    auto volume =
        test::open_volume({memory, nullptr}, test::ring_of(test::passphrase("first")), {}, true);
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    ASSERT_TRUE(volume.plain->write(0, plain_).ok());
    initial_ = memory->copy_bytes();
  }

  // "first", "first second", "": the secrets that open an image, and its data is checked.
  std::vector<std::string> keys_of(const ByteVector& image) {
    std::vector<std::string> found;
    for (const char* secret : {"first", "second"}) {
      const auto volume =
          test::open_volume({std::make_shared<engine::MemoryDevice>(image), nullptr},
                            test::ring_of(test::passphrase(secret)));
      if (volume.plain == nullptr) continue;
      EXPECT_TRUE(test::same_bytes(test::all_bytes(*volume.plain), plain_));
      found.emplace_back(secret);
    }
    return found;
  }

  // Every cut of what was recorded leaves keys, where there were any; `before` is seen on the way,
  // and `after` is the end.
  void check_cuts(const test::RecordingDevice& recorder, const ByteVector& initial,
                  const std::vector<std::string>& before, const std::vector<std::string>& after) {
    std::mt19937_64 random(seed_);
    bool seen_before = false;
    for (std::size_t cut = 0; cut <= recorder.count(); ++cut) {
      const test::CrashImages images(initial, recorder.log(), cut);
      for (const ByteVector& image :
           {images.everything(), images.nothing_unsynced(), images.some(random)}) {
        const auto keys = keys_of(image);
        ASSERT_TRUE(!keys.empty() || before.empty())
            << "nothing opens it when cut after operation " << cut;
        seen_before = seen_before || keys == before;
        if (cut == recorder.count()) {
          EXPECT_EQ(keys, after);
        }
      }
    }
    EXPECT_TRUE(seen_before);
  }

  void run(const Operation& operation, const ByteVector& initial) {
    auto memory = std::make_shared<engine::MemoryDevice>(initial, true);
    auto recorder = std::make_shared<test::RecordingDevice>(memory);
    auto slots = keyslots::open_luks_keyslots(*recorder);
    ASSERT_TRUE(slots.ok()) << slots.error().message();
    auto done = operation.run(**slots, volume_key_);
    ASSERT_TRUE(done.ok()) << done.error().message();
    ASSERT_EQ(keys_of(memory->copy_bytes()), operation.after);
    ASSERT_GE(recorder->count(), 6U);
    check_cuts(*recorder, initial, operation.before, operation.after);
  }

  std::uint64_t seed_ = 0;
  engine::SecretBytes volume_key_;
  ByteVector plain_;
  ByteVector initial_;
};

TEST_P(LuksPowerCut, EveryCutLeavesAVolumeThatOpens) {
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    run(operation, initial_);
    if (HasFatalFailure()) return;
  }
}

// The second operation after a cut finds what the first left: one copy old, or torn.
TEST_P(LuksPowerCut, AndSoDoesTheNextOneAfterACut) {
  const auto all = operations();
  std::mt19937_64 random(seed_ + 1);
  for (int round = 0; round < 6; ++round) {
    auto memory = std::make_shared<engine::MemoryDevice>(initial_, true);
    auto recorder = std::make_shared<test::RecordingDevice>(memory);
    auto slots = keyslots::open_luks_keyslots(*recorder);
    ASSERT_TRUE(slots.ok());
    ASSERT_TRUE((*slots)->add(volume_key_, engine::as_bytes("third"), test::cheap_kdf(), 5).ok());
    const std::size_t cut = random() % (recorder->count() + 1);
    SCOPED_TRACE("first cut after operation " + std::to_string(cut));
    run(all[random() % all.size()], test::CrashImages(initial_, recorder->log(), cut).some(random));
    if (HasFatalFailure()) return;
  }
}

// A header from before (a backup, an old copy) and material that is left would open it again.
TEST_P(LuksPowerCut, WhatARemovalLeftIsOverwrittenWhenAskedFor) {
  auto memory = std::make_shared<engine::MemoryDevice>(initial_, true);
  auto slots = keyslots::open_luks_keyslots(*memory);
  ASSERT_TRUE(slots.ok());
  auto second =
      (*slots)->add(volume_key_, engine::as_bytes("second"), test::cheap_kdf(), std::nullopt);
  ASSERT_TRUE(second.ok()) << second.error().message();
  const ByteVector with_both = memory->copy_bytes();
  const std::size_t header_bytes = GetParam() == 1 ? 592 : 2 * 16384;
  const auto with_old_header = [&](ByteVector image) {
    std::copy_n(with_both.begin(), header_bytes, image.begin());
    return keys_of(image);
  };
  auto recorder = std::make_shared<test::RecordingDevice>(memory);
  slots = keyslots::open_luks_keyslots(*recorder);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->remove(*second).ok());
  bool left = false;
  for (std::size_t cut = 0; cut <= recorder->count(); ++cut) {
    SCOPED_TRACE(cut);
    const ByteVector image = test::CrashImages(with_both, recorder->log(), cut).everything();
    if (keys_of(image) != std::vector<std::string>{"first"}) continue;
    left = left || with_old_header(image).size() == 2;
    auto rest = std::make_shared<engine::MemoryDevice>(image, true);
    slots = keyslots::open_luks_keyslots(*rest);
    ASSERT_TRUE(slots.ok());
    auto destroyed = (*slots)->destroy_unused();
    ASSERT_TRUE(destroyed.ok()) << destroyed.error().message();
    EXPECT_GT(*destroyed, 0U);
    EXPECT_EQ(keys_of(rest->copy_bytes()), std::vector<std::string>{"first"});
    EXPECT_EQ(with_old_header(rest->copy_bytes()), std::vector<std::string>{"first"});
  }
  EXPECT_TRUE(left);
}

// A first copy that is bad, and a second one that counts: it must not be the first to be written.
TEST_P(LuksPowerCut, TheCopyThatCountsIsWrittenLast) {
  if (GetParam() == 1) GTEST_SKIP() << "luks1 has one copy";
  for (const std::size_t damaged : {std::size_t{0}, std::size_t{16384}}) {
    SCOPED_TRACE(damaged);
    ByteVector image = initial_;
    image[damaged + 5000] ^= std::byte{1};
    run(operations().front(), image);
    if (HasFatalFailure()) return;
  }
}

// A copy of LUKS2 that is bad: mended without a moment in which nothing opens. A number of LUKS1's
// that cannot be, with which nothing does: mended, or as it was.
TEST_P(LuksPowerCut, ARepairThatIsCutShortLeavesWhatOpens) {
  const std::vector<std::size_t> places =
      GetParam() == 1 ? std::vector<std::size_t>{208 + 3 * 48} : std::vector<std::size_t>{0, 16384};
  for (const std::size_t at : places) {
    SCOPED_TRACE(at);
    ByteVector image = initial_;
    image[GetParam() == 1 ? at : at + 5000] ^= std::byte{1};
    auto memory = std::make_shared<engine::MemoryDevice>(image, true);
    auto recorder = std::make_shared<test::RecordingDevice>(memory);
    const auto repair = keyslots::plan_luks_repair(*recorder, {});
    ASSERT_TRUE(repair.ok()) << repair.error().message();
    ASSERT_TRUE(repair->needed());
    ASSERT_TRUE(keyslots::carry_out_repair(*recorder, *repair).ok());
    ASSERT_GE(recorder->count(), 2U);
    const auto before =
        GetParam() == 1 ? std::vector<std::string>() : std::vector<std::string>{"first"};
    check_cuts(*recorder, image, before, {"first"});
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, LuksPowerCut, testing::Values(1U, 2U),
                         [](const auto& one) { return fmt::format("Luks{}", one.param); });

// Making a volume: it opens, or there is none.
TEST(LuksFormatPowerCut, AVolumeThatIsBeingMadeOpensOrIsNone) {
  const std::uint64_t seed = test::test_seed();
  for (const unsigned version : {1U, 2U}) {
    SCOPED_TRACE(version);
    const ByteVector initial((version == 1 ? 3 : 17) * kMiB);
    auto memory = std::make_shared<engine::MemoryDevice>(initial, true);
    auto recorder = std::make_shared<test::RecordingDevice>(memory);
    auto options = test::cheap_options(version);
    options.key_bytes = 32;
    ASSERT_TRUE(test::format_luks(version, *recorder, options, "first").ok());
    std::mt19937_64 random(seed);
    bool opened = false;
    for (std::size_t cut = 0; cut <= recorder->count(); ++cut) {
      const test::CrashImages images(initial, recorder->log(), cut);
      for (const ByteVector& image :
           {images.everything(), images.nothing_unsynced(), images.some(random)}) {
        const auto volume =
            test::open_volume({std::make_shared<engine::MemoryDevice>(image), nullptr},
                              test::ring_of(test::passphrase("first")));
        opened = volume.plain != nullptr;
        const bool none = volume.header == nullptr;
        EXPECT_TRUE(opened || none) << volume.message();
      }
    }
    EXPECT_TRUE(opened);
  }
}

}  // namespace
}  // namespace latchkey
