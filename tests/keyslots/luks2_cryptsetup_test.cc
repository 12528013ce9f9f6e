// LUKS2 volumes that cryptsetup makes on the spot, on plain files: every key derivation, cipher,
// sector and header size, slots and priorities. What is in them was encrypted, and what Latchkey
// writes is decrypted again, by `cryptsetup reencrypt`, which needs no device-mapper for that.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using test::kCheapPbkdf2;
using test::kQuiet;
using test::log_of;
using test::passphrase;
using test::ring_of;
using test::run_in;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr const char* kOffline = " --force-offline-reencrypt ";

class Luks2Cryptsetup : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    test::write_file(dir_ / "pw", bytes_of("secret"));
  }

  static test::ByteVector bytes_of(std::string_view text) {
    const auto bytes = engine::as_bytes(text);
    return {bytes.begin(), bytes.end()};
  }

  void run(const std::string& command) {
    ASSERT_EQ(run_in(dir_, command), 0) << command << "\n" << log_of(dir_);
  }

  void format(const std::string& options, const std::string& size = "18M") {
    run("rm -f v && truncate -s " + size + " v && cryptsetup luksFormat --type luks2 v" + kQuiet +
        options);
  }

  test::OpenedVolume open(const std::string& secret = "secret",
                          keyslots::UnlockOptions options = {}) {
    return test::open_volume({test::device_of(dir_ / "v"), nullptr}, ring_of(passphrase(secret)),
                             options);
  }

  test::TempDir dir_;
};

TEST_F(Luks2Cryptsetup, EveryKeyDerivation) {
  const std::vector<std::string> hashes{
      "sha1",     "sha224",   "sha256",      "sha384",      "sha512",    "sha3-224", "sha3-256",
      "sha3-384", "sha3-512", "blake2b-512", "blake2s-256", "ripemd160", "whirlpool"};
  std::vector<std::string> options;
  options.reserve(hashes.size());
  for (const std::string& hash : hashes) options.push_back(kCheapPbkdf2 + ("--hash " + hash));
  for (const char* kind : {"argon2i", "argon2id"}) {
    for (const char* lanes : {"1", "2", "4"}) {
      options.push_back(fmt::format(
          "--pbkdf {} --pbkdf-force-iterations 4 --pbkdf-memory 1024 --pbkdf-parallel {}", kind,
          lanes));
    }
  }
  for (const std::string& option : options) {
    SCOPED_TRACE(option);
    ASSERT_NO_FATAL_FAILURE(format(option));
    const auto volume = open();
    EXPECT_NE(volume.plain, nullptr) << volume.message();
    EXPECT_TRUE(volume.notices.items().empty());
  }
}

TEST_F(Luks2Cryptsetup, EveryMetadataSize) {
  for (const char* size : {"16k", "32k", "64k", "128k", "256k", "512k", "1m", "2m", "4m"}) {
    SCOPED_TRACE(size);
    ASSERT_NO_FATAL_FAILURE(format(kCheapPbkdf2 + fmt::format("--luks2-metadata-size {} "
                                                              "--luks2-keyslots-size 1m",
                                                              size)));
    const auto volume = open();
    EXPECT_NE(volume.plain, nullptr) << volume.message();

    // Without the first copy the second has to be found.
    test::ByteVector image = test::bytes_of_file(dir_ / "v");
    std::fill_n(image.begin(), 4096, std::byte{0});
    const auto other = test::open_volume({test::device_of(std::move(image)), nullptr},
                                         ring_of(passphrase("secret")));
    EXPECT_NE(other.plain, nullptr) << other.message();
    EXPECT_TRUE(test::has_notice(other.notices, "first copy"));
  }
}

TEST_F(Luks2Cryptsetup, FactsAreTheHeaders) {
  ASSERT_NO_FATAL_FAILURE(
      format(kCheapPbkdf2 + std::string("--sector-size 4096 --label disk-1 "
                                        "--uuid 11111111-2222-3333-4444-555555555555")));
  const auto volume = test::probe({test::device_of(dir_ / "v"), nullptr});
  ASSERT_NE(volume.header, nullptr);
  const auto& facts = volume.header->facts();
  EXPECT_EQ(facts.format, "LUKS2");
  EXPECT_EQ(facts.cipher, "aes-xts-plain64");
  EXPECT_EQ(facts.key_bits, 512U);
  EXPECT_EQ(facts.sector_bytes, 4096U);
  EXPECT_EQ(facts.label, "disk-1");
  EXPECT_EQ(facts.uuid, "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(facts.payload_offset, 16 * kMiB);
  EXPECT_EQ(facts.payload_bytes, 2 * kMiB);
  EXPECT_FALSE(facts.detached);
  EXPECT_EQ(facts.state, "");
  EXPECT_EQ(facts.unusable, "");
  ASSERT_EQ(volume.header->protectors().size(), 1U);
  EXPECT_EQ(volume.header->protectors()[0].description, "pbkdf2-sha256, 1000 iterations");
}

TEST_F(Luks2Cryptsetup, ThirtyTwoSlots) {
  ASSERT_NO_FATAL_FAILURE(format(std::string(kCheapPbkdf2) + "--key-size 256"));
  std::string adding = "true";
  for (int slot = 1; slot < 32; ++slot) {
    adding +=
        fmt::format(" && printf word{0} > w && cryptsetup luksAddKey v w --key-slot {0} {1}{2}",
                    slot, kQuiet, kCheapPbkdf2);
  }
  ASSERT_NO_FATAL_FAILURE(run(adding));
  EXPECT_EQ(open().opened_by, "keyslot 0 with passphrase 'secret'");
  for (int slot = 1; slot < 32; ++slot) {
    keyslots::UnlockOptions only;
    only.only_protector = static_cast<unsigned>(slot);
    const auto volume = open(fmt::format("word{}", slot), only);
    EXPECT_EQ(volume.opened_by, fmt::format("keyslot {0} with passphrase 'word{0}'", slot));
  }
}

TEST_F(Luks2Cryptsetup, PrioritiesAndUnboundSlots) {
  ASSERT_NO_FATAL_FAILURE(format(kCheapPbkdf2));
  ASSERT_NO_FATAL_FAILURE(
      run(fmt::format("printf one > w1 && printf two > w2 && "
                      "cryptsetup luksAddKey v w1 --key-slot 1 {0}{1} && "
                      "cryptsetup luksAddKey v w2 --key-slot 2 --unbound --key-size 512 {0}{1} && "
                      "cryptsetup config v --key-slot 0 --priority ignore && "
                      "cryptsetup config v --key-slot 1 --priority prefer",
                      kQuiet, kCheapPbkdf2)));
  const auto info = test::probe({test::device_of(dir_ / "v"), nullptr});
  ASSERT_EQ(info.header->protectors().size(), 3U);
  EXPECT_EQ(info.header->protectors()[0].priority, 0);
  EXPECT_EQ(info.header->protectors()[1].priority, 2);
  EXPECT_THAT(info.header->protectors()[2].unusable, testing::HasSubstr("unbound"));

  EXPECT_EQ(open("one").opened_by, "keyslot 1 with passphrase 'one'");
  EXPECT_EQ(open("secret").message(), "no key fits: tried passphrase 'secret' on keyslot 1");
  keyslots::UnlockOptions named;
  named.only_protector = 0;
  EXPECT_EQ(open("secret", named).opened_by, "keyslot 0 with passphrase 'secret'");
  named.only_protector = 2;
  const auto unbound = open("two", named);
  ASSERT_TRUE(unbound.error.has_value());
  EXPECT_EQ(unbound.error->code(), engine::ErrorCode::kNotSupported);
  EXPECT_THAT(unbound.message(), testing::HasSubstr("unbound"));
}

TEST_F(Luks2Cryptsetup, ADevicePayloadThatIsNotWholeSectors) {
  ASSERT_NO_FATAL_FAILURE(format(kCheapPbkdf2 + std::string("--sector-size 4096")));
  ASSERT_NO_FATAL_FAILURE(run("truncate -s $((17*1024*1024+1000)) v"));
  const auto volume = open();
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  EXPECT_EQ(volume.plain->size_bytes(), kMiB);
  EXPECT_TRUE(test::has_notice(volume.notices, "1000 bytes"));
}

struct Payload {
  const char* cipher;
  const char* key_bits;
  const char* sector;
};

class Luks2Payload : public Luks2Cryptsetup, public testing::WithParamInterface<Payload> {
 protected:
  // The whole of `plain` in a.img, encrypted by cryptsetup under a detached header h.img.
  void encrypt(const test::ByteVector& plain) {
    test::write_file(dir_ / "a.img", plain);
    run(fmt::format(
        "truncate -s 16M h.img && cryptsetup reencrypt --encrypt --header h.img a.img "
        "--cipher {} --key-size {} --sector-size {}{}{}{}",
        GetParam().cipher, GetParam().key_bits, GetParam().sector, kOffline, kQuiet, kCheapPbkdf2));
  }
};

TEST_P(Luks2Payload, ReadsWhatCryptsetupEncrypted) {
  const auto plain = test::random_bytes(2 * kMiB, test::test_seed());
  ASSERT_NO_FATAL_FAILURE(encrypt(plain));
  const auto volume =
      test::open_volume({test::device_of(dir_ / "a.img"), test::device_of(dir_ / "h.img")},
                        ring_of(passphrase("secret")));
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  EXPECT_TRUE(volume.header->facts().detached);
  EXPECT_FALSE(volume.plain->writable());
  EXPECT_TRUE(test::same_bytes(test::all_bytes(*volume.plain), plain));
}

TEST_P(Luks2Payload, WritesWhatCryptsetupDecrypts) {
  const std::uint64_t seed = test::test_seed();
  auto plain = test::random_bytes(2 * kMiB, seed);
  ASSERT_NO_FATAL_FAILURE(encrypt(plain));
  {
    engine::Notices notices;
    auto data =
        engine::FileDevice::open((dir_ / "a.img").string(), engine::Access::kReadWrite, notices);
    ASSERT_TRUE(data.ok()) << data.error().message();
    const auto volume = test::open_volume({*data, test::device_of(dir_ / "h.img")},
                                          ring_of(passphrase("secret")), {}, true);
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    for (const auto& [offset, length] : {std::pair<std::size_t, std::size_t>{0, 512},
                                         {4095, 3},
                                         {65537, 100001},
                                         {2 * kMiB - 700, 700}}) {
      const auto piece = test::random_bytes(length, seed + offset + 1);
      ASSERT_TRUE(volume.plain->write(offset, piece).ok());
      std::copy(piece.begin(), piece.end(), plain.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    ASSERT_TRUE(volume.plain->flush().ok());
  }
  ASSERT_NO_FATAL_FAILURE(run(
      fmt::format("cryptsetup reencrypt --decrypt --header h.img a.img{}{}", kOffline, kQuiet)));
  EXPECT_TRUE(test::same_bytes(test::bytes_of_file(dir_ / "a.img"), plain));
}

INSTANTIATE_TEST_SUITE_P(
    , Luks2Payload,
    testing::Values(
        Payload{"aes-xts-plain64", "512", "512"}, Payload{"aes-xts-plain64", "256", "1024"},
        Payload{"aes-xts-plain64", "512", "2048"}, Payload{"aes-xts-plain64", "512", "4096"},
        Payload{"aes-xts-plain", "256", "512"}, Payload{"aes-xts-plain", "512", "4096"},
        Payload{"aes-cbc-plain", "256", "512"}, Payload{"aes-cbc-plain64", "128", "512"},
        Payload{"aes-cbc-plain64", "256", "4096"}, Payload{"aes-cbc-essiv:sha256", "256", "512"},
        Payload{"aes-cbc-essiv:sha256", "256", "4096"}),
    [](const auto& test) {
      std::string name =
          fmt::format("{}_{}_{}", test.param.cipher, test.param.key_bits, test.param.sector);
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '-' || c == ':'; }, '_');
      return name;
    });

TEST_F(Luks2Cryptsetup, AnAttachedHeaderMadeByMovingTheData) {
  const auto plain = test::random_bytes(12 * kMiB, test::test_seed());
  test::write_file(dir_ / "v", plain);
  ASSERT_NO_FATAL_FAILURE(run(std::string("truncate -s 20M v && cryptsetup reencrypt --encrypt v "
                                          "--reduce-device-size 8M") +
                              kOffline + kQuiet + kCheapPbkdf2));
  const auto volume = open();
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  auto bytes = test::all_bytes(*volume.plain);
  bytes.resize(plain.size());
  EXPECT_TRUE(test::same_bytes(bytes, plain));
}

TEST_F(Luks2Cryptsetup, ADetachedHeaderAloneSaysSo) {
  ASSERT_NO_FATAL_FAILURE(
      run(std::string("truncate -s 1M v && truncate -s 16M h.img && cryptsetup luksFormat --type "
                      "luks2 --header h.img v") +
          kQuiet + kCheapPbkdf2));
  const auto alone =
      test::open_volume({test::device_of(dir_ / "h.img"), nullptr}, ring_of(passphrase("secret")));
  ASSERT_TRUE(alone.error.has_value());
  EXPECT_THAT(alone.message(), testing::HasSubstr("this is a detached header"));
  const auto both =
      test::open_volume({test::device_of(dir_ / "v"), test::device_of(dir_ / "h.img")},
                        ring_of(passphrase("secret")));
  ASSERT_NE(both.plain, nullptr) << both.message();
  EXPECT_EQ(both.plain->size_bytes(), kMiB);
}

}  // namespace
}  // namespace latchkey
