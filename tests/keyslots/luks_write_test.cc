// What is written into LUKS headers: new volumes, key slots that come and go, and that everything
// else in a header stays as it was. cryptsetup reads what is made here, and the other way round.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "keyslots/kdf_cost.h"
#include "keyslots/luks/anti_forensic.h"
#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks2_json_edit.h"
#include "tests/keyslots/luks_builder.h"
#include "tests/keyslots/luks_write_fixture.h"

namespace latchkey {
namespace {

using test::ByteVector;
using testing::HasSubstr;

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(AntiForensic, SplittingIsUndoneByMerging) {
  const std::uint64_t seed = test::test_seed();
  for (const char* hash : {"sha1", "sha256", "sha512", "ripemd160"}) {
    for (const std::size_t key_bytes : {1U, 16U, 20U, 33U, 64U}) {
      for (const std::uint32_t stripes : {1U, 2U, 4000U}) {
        const auto key = test::random_bytes(key_bytes, seed + key_bytes);
        auto split = keyslots::anti_forensic_split(key, stripes, hash);
        ASSERT_TRUE(split.ok());
        ASSERT_EQ(split->size(), key_bytes * stripes);
        auto merged = keyslots::anti_forensic_merge(split->span(), key_bytes, stripes, hash);
        ASSERT_TRUE(merged.ok());
        EXPECT_TRUE(merged->equals(key)) << hash << " " << key_bytes << " " << stripes;
        // One bit lost, all lost; of keys of one byte, though, many hash to the same.
        if (key_bytes == 1) continue;
        split->span()[0] ^= std::byte{1};
        merged = keyslots::anti_forensic_merge(split->span(), key_bytes, stripes, hash);
        EXPECT_FALSE(merged->equals(key));
      }
    }
  }
}

TEST(KdfCost, IsWhatWasWished) {
  keyslots::KdfWish wish;
  wish.iterations = 5;
  wish.memory_kib = 4096;
  wish.lanes = 3;
  auto argon = keyslots::choose_kdf_cost(wish, 64);
  ASSERT_TRUE(argon.ok());
  EXPECT_EQ(argon->describe(), "argon2id, 4 MiB, 5 passes, 3 lanes");
  wish.iterations = 3;
  EXPECT_EQ(keyslots::choose_kdf_cost(wish, 64).error().code(), engine::ErrorCode::kUsage);
  wish.iterations.reset();
  wish.seconds = 0.05;
  argon = keyslots::choose_kdf_cost(wish, 64);
  ASSERT_TRUE(argon.ok());
  EXPECT_EQ(argon->memory_kib, 4096U);  // no more than was allowed: passes make up for it
  EXPECT_GE(argon->iterations, 4U);
  EXPECT_TRUE(argon->salt.empty());
  wish.type = "pbkdf2";
  wish.seconds = 0;
  auto pbkdf2 = keyslots::choose_kdf_cost(wish, 64);
  ASSERT_TRUE(pbkdf2.ok());
  EXPECT_EQ(pbkdf2->iterations, keyslots::kMinPbkdf2Iterations);
  wish.type = "scrypt";
  EXPECT_EQ(keyslots::choose_kdf_cost(wish, 64).error().code(), engine::ErrorCode::kNotSupported);
}

// Members, objects and tokens nobody here knows.
std::string json_with_strangers() {
  std::string json = test::luks2_json();
  const auto put = [&](const std::string& before, const std::string& more) {
    json.insert(json.find(before) + before.size(), more);
  };
  put(R"("tokens":{)", R"("7":{"type":"clevis","keyslots":["0","1"],"jwe":{"a":[1,{"b":null}]}},)");
  put(R"("config":{)", R"("flags":["allow-discards"],"later":{"x":18446744073709551615},)");
  put(R"("1":{"type":"luks2",)", R"("note":"kept",)");
  json.insert(1, R"("future":{"list":["\u00e9",true]},)");
  return json;
}

TEST(Luks2JsonEdit, StrangersStayAsTheyWere) {
  using Json = nlohmann::ordered_json;
  const std::string text = json_with_strangers();
  ASSERT_TRUE(keyslots::parse_luks2_json(text).ok());
  auto without = keyslots::luks2_json_without_keyslot(text, 1);
  ASSERT_TRUE(without.ok());
  Json expected = Json::parse(text);
  expected["keyslots"].erase("1");
  expected["digests"]["0"]["keyslots"] = {"0"};
  expected["tokens"]["0"]["keyslots"] = Json::array();
  expected["tokens"]["7"]["keyslots"] = {"0"};
  EXPECT_EQ(Json::parse(*without).dump(), expected.dump());  // the order, too

  auto preferred = keyslots::luks2_json_with_priority(text, 1, 0);
  ASSERT_TRUE(preferred.ok());
  expected = Json::parse(text);
  expected["keyslots"]["1"]["priority"] = 0;
  EXPECT_EQ(Json::parse(*preferred).dump(), expected.dump());

  auto slot = keyslots::parse_luks2_json(text)->keyslots[1];
  slot.kdf = test::cheap_kdf();
  slot.kdf.salt = ByteVector(32);
  slot.area.offset = 294912;
  auto changed = keyslots::luks2_json_with_keyslot(text, slot, 0);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(Json::parse(*changed)["keyslots"]["1"]["note"], "kept");
  EXPECT_EQ(Json::parse(*changed)["keyslots"]["1"]["priority"], 2);
  EXPECT_EQ(Json::parse(*changed)["digests"], Json::parse(text)["digests"]);

  std::string fraction = text;
  fraction.insert(1, R"("ratio":0.1,)");
  EXPECT_EQ(keyslots::luks2_json_without_keyslot(fraction, 1).error().code(),
            engine::ErrorCode::kNotSupported);
}

class LuksWrite : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  }

  void save(const engine::MemoryDevice& device, const std::string& name) {
    test::write_file(dir_ / name, device.copy_bytes());
  }
  void run(const std::string& command) {
    ASSERT_EQ(test::run_in(dir_, command), 0) << command << "\n" << test::log_of(dir_);
  }
  void cryptsetup_opens(const std::string& secret, const std::string& more) {
    run("printf '" + secret +
        "' | cryptsetup open --test-passphrase --disable-locks --key-file - " + more);
  }

  test::TempDir dir_;
};

struct Making {
  unsigned version;
  const char* cipher;
  std::uint32_t key_bytes;
  std::uint32_t sector_bytes;
  const char* kdf;
  const char* hash;
  bool detached;
};

class LuksMade : public LuksWrite, public testing::WithParamInterface<Making> {};

TEST_P(LuksMade, CryptsetupOpensItAndFindsNothingToRepair) {
  const Making& making = GetParam();
  keyslots::LuksFormatOptions options = test::cheap_options(making.version);
  options.cipher = making.cipher;
  options.key_bytes = making.key_bytes;
  options.sector_bytes = making.sector_bytes;
  options.hash = making.hash;
  options.detached = making.detached;
  if (making.version == 2) options.label = "a label";
  options.kdf = std::string(making.kdf) == "pbkdf2" ? test::cheap_kdf(making.hash)
                                                    : test::cheap_argon(making.kdf);
  auto header = std::make_shared<engine::MemoryDevice>(
      ByteVector(making.detached ? (making.version == 1 ? 4 * kMiB : 16 * kMiB) : 18 * kMiB), true);
  auto data =
      making.detached ? std::make_shared<engine::MemoryDevice>(ByteVector(kMiB), true) : header;
  auto made = test::format_luks(making.version, *header, options, "secret");
  ASSERT_TRUE(made.ok()) << made.error().message();

  keyslots::VolumeSource source{data, making.detached ? header : nullptr};
  auto volume = test::open_volume(source, test::ring_of(test::passphrase("secret")));
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  EXPECT_TRUE(volume.notices.items().empty());
  const auto& facts = volume.header->facts();
  EXPECT_EQ(facts.uuid, made->uuid);
  EXPECT_EQ(facts.cipher, making.cipher);
  EXPECT_EQ(facts.key_bits, making.key_bytes * 8);
  EXPECT_EQ(facts.sector_bytes, making.sector_bytes);
  EXPECT_EQ(facts.payload_offset, made->payload_offset);
  EXPECT_EQ(facts.label, options.label);

  save(*header, "h");
  save(*data, "d");
  const std::string which = making.detached ? "--header h d" : "h";
  run("cryptsetup luksDump h | grep -q '" + made->uuid + "'");
  cryptsetup_opens("secret", which);
  run("! printf wrong | cryptsetup open --test-passphrase --disable-locks --key-file - " + which);
  run("cp h before && cryptsetup repair -q --disable-locks h && cmp before h");
}

std::string name_of(const testing::TestParamInfo<Making>& info) {
  const Making& m = info.param;
  std::string name = fmt::format("luks{}_{}_{}_{}_{}_{}{}", m.version, m.cipher, m.key_bytes,
                                 m.sector_bytes, m.kdf, m.hash, m.detached ? "_detached" : "");
  for (char& c : name) c = c == '-' || c == ':' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    All, LuksMade,
    testing::Values(Making{2, "aes-xts-plain64", 64, 512, "pbkdf2", "sha256", false},
                    Making{2, "aes-xts-plain64", 64, 4096, "argon2id", "sha256", false},
                    Making{2, "aes-xts-plain64", 32, 1024, "argon2i", "sha512", false},
                    Making{2, "aes-cbc-essiv:sha256", 32, 512, "pbkdf2", "sha512", false},
                    Making{2, "aes-cbc-plain64", 16, 2048, "argon2id", "sha1", false},
                    Making{2, "aes-xts-plain64", 64, 4096, "argon2id", "sha256", true},
                    Making{2, "aes-xts-plain64", 32, 512, "pbkdf2", "blake2b-512", true},
                    Making{1, "aes-xts-plain64", 64, 512, "pbkdf2", "sha256", false},
                    Making{1, "aes-xts-plain64", 32, 512, "pbkdf2", "sha512", false},
                    Making{1, "aes-cbc-essiv:sha256", 32, 512, "pbkdf2", "sha1", false},
                    Making{1, "aes-xts-plain64", 64, 512, "pbkdf2", "sha256", true}),
    name_of);

class LuksKeys : public LuksWrite, public testing::WithParamInterface<unsigned> {
 protected:
  void make() {
    device_ = std::make_shared<engine::MemoryDevice>(ByteVector(18 * kMiB), true);
    auto made = test::format_luks(GetParam(), *device_, test::cheap_options(GetParam()), "zero");
    ASSERT_TRUE(made.ok());
    key_ = std::move(made->volume_key);
  }
  std::unique_ptr<keyslots::LuksKeyslots> slots() {
    auto slots = keyslots::open_luks_keyslots(*device_);
    EXPECT_TRUE(slots.ok()) << slots.error().message();
    return slots ? std::move(*slots) : nullptr;
  }
  // "keyslot 0 with ...", or why not.
  std::string opened_by(const std::string& secret) {
    const auto volume =
        test::open_volume({device_, nullptr}, test::ring_of(test::passphrase(secret)));
    return volume.plain ? volume.opened_by.substr(0, volume.opened_by.find(" with")) : "nothing";
  }

  std::shared_ptr<engine::MemoryDevice> device_;
  engine::SecretBytes key_;
};

TEST_P(LuksKeys, ComeAndGo) {
  ASSERT_NO_FATAL_FAILURE(make());
  const auto one = engine::as_bytes("one");
  auto added = slots()->add(key_, one, test::cheap_kdf(), std::nullopt);
  ASSERT_TRUE(added.ok()) << added.error().message();
  EXPECT_EQ(*added, 1U);
  ASSERT_TRUE(slots()->add(key_, engine::as_bytes("five"), test::cheap_kdf(), 5).ok());
  EXPECT_EQ(opened_by("one"), "keyslot 1");
  EXPECT_EQ(opened_by("five"), "keyslot 5");
  EXPECT_THAT(slots()->in_use(), testing::ElementsAre(0, 1, 5));
  save(*device_, "v");
  for (const char* secret : {"zero", "one", "five"}) cryptsetup_opens(secret, "v");

  auto changed = slots()->change(key_, 1, engine::as_bytes("uno"), test::cheap_kdf());
  ASSERT_TRUE(changed.ok()) << changed.error().message();
  EXPECT_EQ(*changed, GetParam() == 1 ? 2U : 1U);
  EXPECT_EQ(opened_by("one"), "nothing");
  EXPECT_EQ(opened_by("uno"), fmt::format("keyslot {}", *changed));
  ASSERT_TRUE(slots()->remove(0).ok());
  EXPECT_EQ(opened_by("zero"), "nothing");
  save(*device_, "v");
  for (const char* secret : {"uno", "five"}) cryptsetup_opens(secret, "v");
  run("cp v before && cryptsetup repair -q --disable-locks v && cmp before v");
  run("! printf zero | cryptsetup open --test-passphrase --disable-locks --key-file - v");
  run("! printf one | cryptsetup open --test-passphrase --disable-locks --key-file - v");
}

TEST_P(LuksKeys, WhatCannotBeIsRefusedAndNothingIsWritten) {
  ASSERT_NO_FATAL_FAILURE(make());
  const ByteVector before = device_->copy_bytes();
  const auto one = engine::as_bytes("one");
  const auto kdf = test::cheap_kdf();
  EXPECT_THAT(slots()->add(key_, one, kdf, 0).error().message(), HasSubstr("in use"));
  EXPECT_THAT(slots()->add(key_, one, kdf, 32).error().message(), HasSubstr("0 to"));
  EXPECT_THAT(slots()->remove(3).error().message(), HasSubstr("not in use"));
  EXPECT_THAT(slots()->change(key_, 3, one, kdf).error().message(), HasSubstr("not in use"));
  const engine::SecretBytes other(key_.size());
  EXPECT_EQ(slots()->add(other, one, kdf, 1).error().code(), engine::ErrorCode::kWrongKey);
  EXPECT_TRUE(test::same_bytes(device_->copy_bytes(), before));
}

TEST_P(LuksKeys, RemovedMaterialIsGone) {
  ASSERT_NO_FATAL_FAILURE(make());
  ASSERT_TRUE(slots()->add(key_, engine::as_bytes("one"), test::cheap_kdf(), 1).ok());
  const ByteVector with = device_->copy_bytes();
  ASSERT_TRUE(slots()->remove(1).ok());
  const ByteVector without = device_->copy_bytes();
  // Second area of either format: where it was, every sector is another.
  const std::size_t begin = GetParam() == 1 ? 4096 + 258048 : 32768 + 258048;
  for (std::size_t at = begin; at < begin + 256000; at += 512) {
    ASSERT_NE(std::memcmp(with.data() + at, without.data() + at, 512), 0) << at;
  }
}

TEST_P(LuksKeys, FillUp) {
  ASSERT_NO_FATAL_FAILURE(make());
  const unsigned most = GetParam() == 1 ? 8 : 32;
  for (unsigned i = 1; i < most; ++i) {
    auto added = slots()->add(key_, engine::as_bytes("one"), test::cheap_kdf(), std::nullopt);
    ASSERT_TRUE(added.ok()) << added.error().message();
    EXPECT_EQ(*added, i);
  }
  EXPECT_EQ(
      slots()->add(key_, engine::as_bytes("x"), test::cheap_kdf(), std::nullopt).error().code(),
      engine::ErrorCode::kRefused);
  save(*device_, "v");
  cryptsetup_opens("one", fmt::format("--key-slot {} v", most - 1));
}

TEST_P(LuksKeys, OfAVolumeThatCryptsetupMade) {
  test::write_file(dir_ / "pw", ByteVector(4, std::byte{'z'}));
  run(fmt::format("truncate -s 18M v && cryptsetup luksFormat --type luks{} v{}{}", GetParam(),
                  test::kQuiet, test::kCheapPbkdf2));
  run(fmt::format("printf two > w && cryptsetup luksAddKey v w{}{}", test::kQuiet,
                  test::kCheapPbkdf2));
  if (GetParam() == 2) {
    run("printf '{\"type\":\"strange\",\"keyslots\":[\"1\"],\"extra\":[1,2]}' | "
        "cryptsetup token import v --disable-locks");
    run("cryptsetup config v --disable-locks --label old --key-slot 1 --priority prefer || "
        "cryptsetup config v --disable-locks --key-slot 1 --priority prefer");
  }
  device_ = std::make_shared<engine::MemoryDevice>(test::bytes_of_file(dir_ / "v"), true);
  const auto volume = test::probe({device_, nullptr});
  ASSERT_NE(volume.header, nullptr);
  auto keys = keyslots::find_keys(*volume.header, test::ring_of(test::passphrase("zzzz")), {});
  ASSERT_TRUE(keys.ok()) << keys.error().message();
  key_ = std::move(keys->keys.front());
  ASSERT_TRUE(slots()->add(key_, engine::as_bytes("three"), test::cheap_kdf(), std::nullopt).ok());
  ASSERT_TRUE(slots()->remove(0).ok());
  save(*device_, "v");
  for (const char* secret : {"two", "three"}) cryptsetup_opens(secret, "v");
  run("cp v before && cryptsetup repair -q --disable-locks v && cmp before v");
  if (GetParam() == 2) {
    run("cryptsetup luksDump v | grep -q strange");
    run("cryptsetup token export --token-id 0 v --disable-locks | grep -q '\"extra\":\\[1,2\\]'");
    run("cryptsetup luksDump v | grep -q 'Priority:.*preferred'");
  }
  // And what cryptsetup adds to that opens here.
  run(
      fmt::format("printf four > x && cryptsetup luksAddKey v x --batch-mode --disable-locks "
                  "--key-file w{}",
                  test::kCheapPbkdf2));
  device_ = std::make_shared<engine::MemoryDevice>(test::bytes_of_file(dir_ / "v"), true);
  EXPECT_EQ(opened_by("four"), "keyslot 0");
  EXPECT_EQ(opened_by("three"), "keyslot 2");
}

INSTANTIATE_TEST_SUITE_P(Versions, LuksKeys, testing::Values(1U, 2U),
                         [](const auto& one) { return fmt::format("Luks{}", one.param); });

TEST(Luks2Change, AReencryptionUnderWayIsLeftAlone) {
  std::string json = test::luks2_json();
  json.insert(json.find(R"("config":{)") + 10,
              R"("requirements":{"mandatory":["online-reencrypt-v2"]},)");
  ByteVector image = test::luks2_image(json);
  engine::MemoryDevice device(image, true);
  auto slots = keyslots::open_luks_keyslots(device);
  ASSERT_FALSE(slots.ok());
  EXPECT_EQ(slots.error().code(), engine::ErrorCode::kNotSupported);
  EXPECT_THAT(slots.error().message(), HasSubstr("re-encryption"));
}

// Slots at 32768 and 163840, of 131072 bytes each; the key slots area ends at 2 MiB.
class Luks2Unused : public testing::Test {
 protected:
  static constexpr std::size_t kFreeFrom = 163840 + 131072;
  static constexpr std::size_t kAreaEnd = std::size_t{2} << 20;

  engine::Result<std::uint64_t> destroy(ByteVector& image) {
    auto device = std::make_shared<engine::MemoryDevice>(image, true);
    auto slots = keyslots::open_luks_keyslots(*device);
    if (!slots) return std::move(slots).error();
    auto done = (*slots)->destroy_unused();
    image = device->copy_bytes();
    return done;
  }
  static bool is_zero(const ByteVector& bytes, std::size_t begin, std::size_t end) {
    return engine::all_zero(engine::Bytes(bytes).subspan(begin, end - begin));
  }
};

TEST_F(Luks2Unused, AllOfItAndNothingElse) {
  ByteVector image = test::luks2_image();
  const auto done = destroy(image);
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(*done, kAreaEnd - kFreeFrom);
  EXPECT_TRUE(is_zero(image, 32768, kFreeFrom));
  for (std::size_t at = kFreeFrom; at < kAreaEnd; at += 512) {
    EXPECT_FALSE(is_zero(image, at, at + 512)) << at;
  }
  EXPECT_TRUE(is_zero(image, kAreaEnd, image.size()));
}

TEST_F(Luks2Unused, BetweenSlotsToo) {
  std::string json = test::luks2_json();
  const std::string from = "\"163840\"";
  json.replace(json.find(from), from.size(), "\"299009\"");  // on no boundary
  ByteVector image = test::luks2_image(json);
  const auto done = destroy(image);
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(*done, kAreaEnd - 32768 - 2 * 131072);
  EXPECT_TRUE(is_zero(image, 32768, 163840));
  EXPECT_FALSE(is_zero(image, 163840, 163840 + 512));
  EXPECT_FALSE(is_zero(image, 299009 - 512, 299009));
  EXPECT_TRUE(is_zero(image, 299009, 299009 + 131072));
  EXPECT_FALSE(is_zero(image, 299009 + 131072, 299009 + 131072 + 512));
}

TEST_F(Luks2Unused, AHeaderFileThatEndsWithinTheArea) {
  for (const std::size_t size : {std::size_t{1234567}, kFreeFrom}) {
    ByteVector image = test::luks2_image();
    image.resize(size);
    const auto done = destroy(image);
    ASSERT_TRUE(done.ok()) << done.error().message();
    EXPECT_EQ(*done, size - kFreeFrom);
    if (size > kFreeFrom) {
      EXPECT_FALSE(is_zero(image, size - 512, size));
    }
  }
}

TEST_F(Luks2Unused, NotWhereTheDataIs) {
  std::string json = test::luks2_json();
  const std::string from = "\"2064384\"";
  json.replace(json.find(from), from.size(), "\"2068480\"");
  ByteVector image = test::luks2_image(json);
  const ByteVector before = image;
  const auto done = destroy(image);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), engine::ErrorCode::kDamaged);
  EXPECT_THAT(done.error().message(), HasSubstr("overlaps the header"));
  EXPECT_TRUE(test::same_bytes(image, before));
}

TEST(Luks1Unused, ADetachedHeaderThatEndsWithinASlot) {
  auto memory = std::make_shared<engine::MemoryDevice>(ByteVector(std::size_t{8} << 20), true);
  auto options = test::cheap_options(1);
  options.key_bytes = 32;
  auto made = test::format_luks(1, *memory, options, "one");
  ASSERT_TRUE(made.ok()) << made.error().message();
  ByteVector image = memory->copy_bytes();
  engine::store_be<std::uint32_t>(engine::MutableBytes(image), 104, 0);  // payload: detached
  image.resize(4096 + 131072 + 10240);  // slot 0 and a part of slot 1
  engine::MemoryDevice device(image, true);
  auto slots = keyslots::open_luks_keyslots(device);
  ASSERT_TRUE(slots.ok()) << slots.error().message();
  const auto done = (*slots)->destroy_unused();
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(*done, 10240U);
  const ByteVector now = device.copy_bytes();
  EXPECT_TRUE(std::equal(now.begin() + 4096, now.begin() + 4096 + 131072, image.begin() + 4096));
  EXPECT_FALSE(std::equal(now.end() - 512, now.end(), image.end() - 512));
}

TEST(Luks2Change, LabelsPrioritiesAndTokens) {
  engine::MemoryDevice device(test::luks2_image(json_with_strangers()), true);
  auto slots = keyslots::open_luks_keyslots(device);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->set_label("new name").ok());
  ASSERT_TRUE((*slots)->set_priority(1, 0).ok());
  ASSERT_TRUE((*slots)->add_token("recovery", 1).ok());
  EXPECT_FALSE((*slots)->set_label(std::string(48, 'x')).ok());
  const auto copies = keyslots::read_luks2_copies(device);
  for (const auto* copy : {&copies.first, &copies.second}) {
    ASSERT_TRUE(copy->sound());
    EXPECT_EQ(copy->header->label, "new name");
    EXPECT_EQ(copy->header->sequence, 6U);
    EXPECT_EQ(copy->header->metadata.keyslots[1].priority, 0);
    EXPECT_EQ(copy->header->metadata.tokens.size(), 3U);
  }
}

}  // namespace
}  // namespace latchkey
