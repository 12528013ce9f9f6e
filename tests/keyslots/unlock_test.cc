// The rule of unlocking, with a format made up for it.
#include "keyslots/unlock.h"

#include <map>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;
using keyslots::Protector;
using keyslots::Secret;
using keyslots::SecretKind;
using test::passphrase;
using test::ring_of;

std::string text_of(const SecretBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Protector n is opened by the passphrase it is given; every try is written down.
class FakeHeader final : public keyslots::VolumeHeader {
 public:
  keyslots::VolumeFacts facts_value;
  std::vector<Protector> list;
  std::map<unsigned, std::string> fits;
  std::map<unsigned, Error> errors;
  std::size_t keys_needed = 1;
  bool in_parallel = false;
  mutable std::mutex mutex;
  mutable std::vector<std::string> tries;

  Protector& add(unsigned number, std::string secret, int priority = 1, unsigned opens = 0) {
    fits[number] = std::move(secret);
    list.push_back({.number = number,
                    .label = "keyslot " + std::to_string(number),
                    .description = "fake",
                    .takes = {SecretKind::kPassphrase},
                    .priority = priority,
                    .opens = opens,
                    .unusable = ""});
    return list.back();
  }

  const keyslots::VolumeFacts& facts() const override { return facts_value; }
  std::span<const Protector> protectors() const override { return list; }
  std::size_t key_count() const override { return keys_needed; }
  bool tries_in_parallel() const override { return in_parallel; }
  Result<SecretBytes> try_secret(const Protector& protector, const Secret& secret,
                                 const keyslots::KdfLimits&) const override {
    const std::lock_guard lock(mutex);
    tries.push_back(std::to_string(protector.number) + ":" + text_of(secret.bytes));
    if (const auto error = errors.find(protector.number); error != errors.end()) {
      return error->second;
    }
    if (text_of(secret.bytes) == fits.at(protector.number)) {
      return SecretBytes::copy_of(engine::as_bytes("key" + std::to_string(protector.opens)));
    }
    return Error(ErrorCode::kWrongKey, "no");
  }
  Result<keyslots::UnlockedVolume> layout(std::vector<SecretBytes> keys) const override {
    keyslots::UnlockedVolume volume;
    volume.keys = std::move(keys);
    return volume;
  }
};

Result<keyslots::UnlockedVolume> unlock(const FakeHeader& header, const keyslots::KeyRing& ring,
                                        std::optional<unsigned> only = {}) {
  keyslots::UnlockOptions options;
  options.only_protector = only;
  return keyslots::unlock_volume(header, ring, options);
}

TEST(Unlock, TriesEveryPairInOrderOfPriorityAndStopsAtTheFirstThatFits) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(1, "one");
  header.add(5, "five", 2);
  header.add(6, "six", 0);
  auto volume = unlock(header, ring_of(passphrase("x"), passphrase("one")));
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  EXPECT_EQ(volume->opened_by, "keyslot 1 with passphrase 'one'");
  EXPECT_THAT(header.tries, testing::ElementsAre("5:x", "5:one", "0:x", "0:one", "1:x", "1:one"));
}

TEST(Unlock, ASlotToBeIgnoredIsTriedOnlyWhenNamed) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(6, "six", 0);
  EXPECT_FALSE(unlock(header, ring_of(passphrase("six"))).ok());
  header.tries.clear();
  EXPECT_TRUE(unlock(header, ring_of(passphrase("six")), 6).ok());
  EXPECT_THAT(header.tries, testing::ElementsAre("6:six"));
}

TEST(Unlock, TheSameSecretTwiceIsTriedOnce) {
  FakeHeader header;
  header.add(0, "zero");
  auto volume = unlock(header, ring_of(passphrase("a"), passphrase("a"), passphrase("b")));
  EXPECT_THAT(header.tries, testing::ElementsAre("0:a", "0:b"));
}

TEST(Unlock, SaysWhatWasTried) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(1, "one");
  auto volume = unlock(header, ring_of(passphrase("a"), passphrase("b")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kWrongKey);
  EXPECT_EQ(volume.error().message(),
            "no key fits: tried passphrase 'a' on keyslots 0, 1; passphrase 'b' on keyslots 0, 1");
  EXPECT_FALSE(volume.error().hint().empty());
}

TEST(Unlock, AnyOtherErrorIsSaidWhereNothingOpens) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(1, "one");
  header.errors.emplace(0, Error(ErrorCode::kNotSupported, "too dear"));
  auto volume = unlock(header, ring_of(passphrase("one")));
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  EXPECT_EQ(volume->opened_by, "keyslot 1 with passphrase 'one'");
  volume = unlock(header, ring_of(passphrase("x")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kNotSupported);
  EXPECT_EQ(volume.error().message(), "keyslot 0: too dear");
  EXPECT_THAT(header.tries, testing::ElementsAre("0:one", "1:one", "0:x", "1:x"));
}

TEST(Unlock, NothingGivenIsAKeyNeeded) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(3, "three");
  for (const auto& ring : {keyslots::KeyRing(), ring_of(test::key_file({}))}) {
    auto volume = unlock(header, ring);
    ASSERT_FALSE(volume.ok());
    EXPECT_EQ(volume.error().code(), ErrorCode::kKeyNeeded);
    EXPECT_EQ(
        volume.error().message(),
        std::string(ring.empty() ? "a key is needed"
                                 : "no key that was given (key file) is of a kind that fits") +
            ": keyslots 0, 3 can be opened");
    EXPECT_THAT(volume.error().hint(), testing::HasSubstr("--passphrase-file"));
  }
}

TEST(Unlock, SlotsThatCannotBeUsedAreNotTried) {
  FakeHeader header;
  header.add(0, "a").unusable = "unbound: its key is not for this volume";
  header.add(1, "a").unusable = "hash 'x' is not supported";
  header.add(2, "a").unusable = "hash 'x' is not supported";
  auto volume = unlock(header, ring_of(passphrase("a")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kNotSupported);
  EXPECT_EQ(volume.error().message(),
            "no keyslot can be used: keyslots 1, 2: hash 'x' is not supported; keyslot 0: unbound: "
            "its key is not for this volume");
  EXPECT_TRUE(header.tries.empty());
}

TEST(Unlock, AnUnusableVolumeIsRefusedBeforeAKeyIsAskedFor) {
  FakeHeader header;
  header.add(0, "a");
  header.facts_value.unusable = "cipher 'serpent-xts-plain64' is not supported";
  auto volume = unlock(header, ring_of(passphrase("a")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kNotSupported);
  EXPECT_TRUE(header.tries.empty());
}

TEST(Unlock, ASlotThatIsNotThereIsUsage) {
  FakeHeader header;
  header.add(0, "a");
  header.add(2, "a");
  auto volume = unlock(header, ring_of(passphrase("a")), 9);
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kUsage);
  EXPECT_EQ(volume.error().message(), "keyslot 9 is not in use");
  EXPECT_EQ(volume.error().hint(), "in use: 0, 2");
}

TEST(Unlock, NoSlotsAtAllIsAKeyThatCannotBe) {
  FakeHeader header;
  auto volume = unlock(header, ring_of(passphrase("a")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kKeyNeeded);
}

TEST(Unlock, TwoKeysAreGatheredAndHandedOverInOrder) {
  FakeHeader header;
  header.keys_needed = 2;
  header.add(0, "new", 1, 1);
  header.add(1, "old", 1, 0);
  header.add(2, "new", 1, 1);
  auto volume = unlock(header, ring_of(passphrase("old"), passphrase("new")));
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  ASSERT_EQ(volume->keys.size(), 2U);
  EXPECT_EQ(text_of(volume->keys[0]), "key0");
  EXPECT_EQ(text_of(volume->keys[1]), "key1");
  EXPECT_EQ(volume->opened_by, "keyslot 1 with passphrase 'old', keyslot 0 with passphrase 'new'");
  EXPECT_THAT(header.tries, testing::ElementsAre("0:old", "0:new", "1:old"));
}

TEST(Unlock, OneOfTwoKeysIsNotEnough) {
  FakeHeader header;
  header.keys_needed = 2;
  header.add(0, "old", 1, 0);
  header.add(1, "new", 1, 1);
  auto volume = unlock(header, ring_of(passphrase("old")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kWrongKey);
  EXPECT_THAT(volume.error().message(), testing::HasSubstr("needs 2 keys, 1 found"));
}

// In whatever order they end, the first pair that settles it counts.
TEST(Unlock, TogetherGivesTheAnswerOfInTurn) {
  for (int round = 0; round < 50; ++round) {
    FakeHeader header;
    header.in_parallel = true;
    for (unsigned i = 0; i < 8; ++i) header.add(i, i < 3 ? "none" : "fits");
    auto volume = unlock(header, ring_of(passphrase("x"), passphrase("fits")));
    ASSERT_TRUE(volume.ok()) << volume.error().message();
    EXPECT_EQ(volume->opened_by, "keyslot 3 with passphrase 'fits'");
    header.errors.emplace(2, Error(ErrorCode::kDamaged, "broken"));
    volume = unlock(header, ring_of(passphrase("x"), passphrase("fits")));
    ASSERT_TRUE(volume.ok()) << volume.error().message();
    EXPECT_EQ(volume->opened_by, "keyslot 3 with passphrase 'fits'");
    volume = unlock(header, ring_of(passphrase("x")));
    ASSERT_FALSE(volume.ok());
    EXPECT_EQ(volume.error().message(), "keyslot 2: broken");
    header.errors.clear();
    header.errors.emplace(5, Error(ErrorCode::kDamaged, "broken"));
    EXPECT_TRUE(unlock(header, ring_of(passphrase("x"), passphrase("fits"))).ok());
    header.errors.clear();
    header.tries.clear();
    volume = unlock(header, ring_of(passphrase("y")));
    ASSERT_FALSE(volume.ok());
    EXPECT_EQ(volume.error().message(),
              "no key fits: tried passphrase 'y' on keyslots 0, 1, 2, 3, 4, 5, 6, 7");
    EXPECT_EQ(header.tries.size(), 8U);
  }
}

TEST(Unlock, WhatNeedsNoSecretComesFirstAndIsInNobodysWay) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(1, "").needs_secret = false;
  auto volume = unlock(header, {});
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  EXPECT_EQ(volume->opened_by, "keyslot 1 with no secret");
  header.tries.clear();
  EXPECT_TRUE(unlock(header, ring_of(passphrase("zero"))).ok());
  EXPECT_THAT(header.tries, testing::ElementsAre("1:"));
  EXPECT_FALSE(unlock(header, {}, 0).ok());

  header.errors.emplace(1, Error(ErrorCode::kDamaged, "its key is no key"));
  volume = unlock(header, ring_of(passphrase("zero")));
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  EXPECT_EQ(volume->opened_by, "keyslot 0 with passphrase 'zero'");
  volume = unlock(header, {});
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().message(), "keyslot 1: its key is no key");
}

TEST(Unlock, NoKeyNeeded) {
  FakeHeader header;
  header.keys_needed = 0;
  auto volume = unlock(header, {});
  ASSERT_TRUE(volume.ok()) << volume.error().message();
  EXPECT_TRUE(volume->keys.empty());
  EXPECT_EQ(volume->opened_by, "no key: none is needed");
}

// A file has several readings, of which one may be impossible: that is said if no other opens.
TEST(Unlock, ASecretThatCannotBeOneDoesNotStop) {
  FakeHeader header;
  header.add(0, "zero");
  header.add(1, "one");
  header.errors.emplace(0, Error(ErrorCode::kUsage, "not UTF-8"));
  EXPECT_TRUE(unlock(header, ring_of(passphrase("one"))).ok());
  auto volume = unlock(header, ring_of(passphrase("x")));
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kUsage);
  EXPECT_EQ(volume.error().message(), "keyslot 0: not UTF-8");
}

TEST(Unlock, PairsThatNameEachOtherGoFirst) {
  FakeHeader header;
  header.add(0, "a").id = "A";
  header.add(1, "b").id = "B";
  Secret named = passphrase("b");
  named.protector_id = "B";
  Secret stranger = passphrase("c");
  stranger.protector_id = "C";
  EXPECT_TRUE(unlock(header, ring_of(passphrase("x"), std::move(named))).ok());
  EXPECT_THAT(header.tries, testing::ElementsAre("1:b"));
  auto volume = unlock(header, ring_of(std::move(stranger)));
  ASSERT_FALSE(volume.ok());
  EXPECT_THAT(volume.error().hint(), testing::HasSubstr("made for protector C"));
}

// Ways in that are not on the disk are not what a person is asked for.
TEST(Unlock, WaysInBeyondTheDiskAreHintsOnly) {
  FakeHeader header;
  header.add(0, "a").unusable = "only the TPM of its computer can open it";
  Protector& raw = header.add(1, "b");
  raw.on_disk = false;
  raw.label = "raw VMK";
  auto volume = unlock(header, {});
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kNotSupported);
  EXPECT_EQ(volume.error().message(),
            "no keyslot can be used: keyslot 0: only the TPM of its computer can open it");
  EXPECT_THAT(volume.error().hint(), testing::HasSubstr("memory image"));
  volume = unlock(header, ring_of(passphrase("b")));
  ASSERT_TRUE(volume.ok());
  EXPECT_EQ(volume->opened_by, "raw VMK with passphrase 'b'");
}

class FailingSource final : public keyslots::KeySource {
  Result<std::vector<const Secret*>> candidates(const Protector&) override {
    return Error::system("cannot open pw.txt", ENOENT);
  }
  std::vector<std::string> labels() const override { return {}; }
};

TEST(Unlock, ASourceThatFailsStops) {
  FakeHeader header;
  header.add(0, "a");
  keyslots::KeyRing ring;
  ring.add(std::make_unique<FailingSource>());
  auto volume = unlock(header, ring);
  ASSERT_FALSE(volume.ok());
  EXPECT_EQ(volume.error().code(), ErrorCode::kSystem);
  EXPECT_EQ(volume.error().message(), "cannot open pw.txt: no such file or directory");
}

}  // namespace
}  // namespace latchkey
