// LUKS1 volumes that cryptsetup and QEMU make on the spot. QEMU's luks driver is the independent
// reader and writer of what is in them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using test::log_of;
using test::passphrase;
using test::ring_of;
using test::run_in;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr const char* kCheap =
    " --batch-mode --disable-locks --key-file pw --pbkdf-force-iterations 1000 ";

class Luks1Peers : public testing::Test {
 protected:
  void SetUp() override {
    const auto word = engine::as_bytes("secret");
    test::write_file(dir_ / "pw", {word.begin(), word.end()});
  }
  void run(const std::string& command) {
    ASSERT_EQ(run_in(dir_, command), 0) << command << "\n" << log_of(dir_);
  }
  test::TempDir dir_;
};

TEST_F(Luks1Peers, EveryHashOfCryptsetup) {
  if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  for (const char* hash : {"sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-512",
                           "blake2b-512", "blake2s-256", "ripemd160", "whirlpool"}) {
    SCOPED_TRACE(hash);
    ASSERT_NO_FATAL_FAILURE(
        run("rm -f v && truncate -s 3M v && cryptsetup luksFormat --type luks1 "
            "v --hash " +
            std::string(hash) + kCheap));
    const auto volume =
        test::open_volume({test::device_of(dir_ / "v"), nullptr}, ring_of(passphrase("secret")));
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    EXPECT_EQ(volume.plain->size_bytes(), kMiB);
    EXPECT_EQ(volume.header->protectors()[0].description,
              fmt::format("pbkdf2-{}, 1000 iterations", hash));
  }
}

TEST_F(Luks1Peers, EightSlotsAndADetachedHeader) {
  if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  std::string commands = std::string(
                             "truncate -s 1M v && truncate -s 2M h && cryptsetup luksFormat "
                             "--type luks1 --header h v") +
                         kCheap;
  for (int slot = 1; slot < 8; ++slot) {
    commands += fmt::format("&& printf word{0} > w && cryptsetup luksAddKey h w --key-slot {0} {1}",
                            slot, kCheap);
  }
  ASSERT_NO_FATAL_FAILURE(run(commands));
  const keyslots::VolumeSource source{test::device_of(dir_ / "v"), test::device_of(dir_ / "h")};
  for (int slot = 1; slot < 8; ++slot) {
    const auto volume = test::open_volume(source, ring_of(passphrase(fmt::format("word{}", slot))));
    EXPECT_EQ(volume.opened_by, fmt::format("keyslot {0} with passphrase 'word{0}'", slot));
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    EXPECT_EQ(volume.plain->size_bytes(), kMiB);
  }
  const auto alone = test::open_volume({source.header, nullptr}, ring_of(passphrase("secret")));
  EXPECT_THAT(alone.message(), testing::HasSubstr("this is a detached header"));
}

struct Layout {
  const char* cipher;
  const char* mode;
  const char* iv;
  const char* iv_hash;
};

class Luks1Payload : public Luks1Peers, public testing::WithParamInterface<Layout> {
 protected:
  void SetUp() override {
    Luks1Peers::SetUp();
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }
  std::string options() const {
    std::string text = fmt::format(
        "key-secret=s,iter-time=10,cipher-alg={},cipher-mode={},"
        "ivgen-alg={}",
        GetParam().cipher, GetParam().mode, GetParam().iv);
    if (*GetParam().iv_hash != '\0') text += fmt::format(",ivgen-hash-alg={}", GetParam().iv_hash);
    return text;
  }
};

TEST_P(Luks1Payload, BothWays) {
  const std::uint64_t seed = test::test_seed();
  auto plain = test::random_bytes(2 * kMiB, seed);
  test::write_file(dir_ / "plain", plain);
  ASSERT_NO_FATAL_FAILURE(run("qemu-img convert -f raw -O luks --object secret,id=s,file=pw -o " +
                              options() + " plain v"));
  {
    engine::Notices notices;
    auto file =
        engine::FileDevice::open((dir_ / "v").string(), engine::Access::kReadWrite, notices);
    ASSERT_TRUE(file.ok()) << file.error().message();
    const auto volume =
        test::open_volume({*file, nullptr}, ring_of(passphrase("secret")), {}, true);
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    EXPECT_TRUE(test::same_bytes(test::all_bytes(*volume.plain), plain));
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
  ASSERT_NO_FATAL_FAILURE(
      run("qemu-img convert --object secret,id=s,file=pw --image-opts "
          "driver=luks,key-secret=s,file.filename=v -O raw back"));
  EXPECT_TRUE(test::same_bytes(test::bytes_of_file(dir_ / "back"), plain));
}

INSTANTIATE_TEST_SUITE_P(
    , Luks1Payload,
    testing::Values(Layout{"aes-256", "xts", "plain64", ""},
                    Layout{"aes-128", "xts", "plain64", ""}, Layout{"aes-256", "xts", "plain", ""},
                    Layout{"aes-256", "cbc", "plain", ""}, Layout{"aes-128", "cbc", "plain64", ""},
                    Layout{"aes-256", "cbc", "essiv", "sha256"}),
    [](const auto& test) {
      std::string name = fmt::format("{}_{}_{}", test.param.cipher, test.param.mode, test.param.iv);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace latchkey
