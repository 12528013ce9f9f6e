// Every stack that people have, and some they should not: raw, dynamic VHD, LUKS1, LUKS2 with
// 4096-byte sectors, each alone and each inside each other. Several threads read, write, zero and
// flush at any alignment; a plain byte array says what must come back, now and after reopening.
#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/containers/container.h"
#include "engine/file_device.h"
#include "keyslots/keys/key_file.h"
#include "keyslots/unlock.h"
#include "tests/support/fault_device.h"
#include "tests/support/test_bytes.h"

namespace latchkey {
namespace {

using engine::BlockDevice;
using engine::DevicePtr;
using test::ByteVector;

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr int kThreads = 4;

enum class Kind { kRaw, kVhdDynamic, kLuks1, kLuks2With4096 };

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kRaw:
      return "Raw";
    case Kind::kVhdDynamic:
      return "VhdDynamic";
    case Kind::kLuks1:
      return "Luks1";
    case Kind::kLuks2With4096:
      return "Luks2With4096";
  }
  return "";
}

struct Stack {
  Kind outer;  // directly on the file
  Kind inner;  // inside that
};

// The empty image of one kind, made by somebody else's program. VHDs grow, so their file is small;
// LUKS images are `size_bytes` long.
bool make_image(Kind kind, const std::string& path, std::uint64_t size_bytes) {
  const std::string size = std::to_string(size_bytes);
  const std::string key = path + ".key";
  test::write_file(key, ByteVector(32, std::byte{0x42}));
  switch (kind) {
    case Kind::kRaw:
      return test::shell("truncate -s " + size + " " + path);
    case Kind::kVhdDynamic:
      return test::shell("qemu-img create -f vpc -o force_size=on " + path + " " + size);
    case Kind::kLuks1:
      return test::shell(
          "truncate -s " + size + " " + path +
          " && cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 " + path + " " +
          key);
    case Kind::kLuks2With4096:
      return test::shell("truncate -s " + size + " " + path +
                         " && cryptsetup luksFormat -q --type luks2 --sector-size 4096 "
                         "--luks2-metadata-size 16k --luks2-keyslots-size 512k "
                         "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 " +
                         path + " " + key);
  }
  return false;
}

engine::Result<DevicePtr> open_luks(const DevicePtr& file) {
  engine::Notices notices;
  const keyslots::VolumeSource source{file, nullptr};
  auto header = keyslots::probe_volume(source, notices);
  if (!header) return std::move(header).error();
  if (*header == nullptr) return engine::Error(engine::ErrorCode::kDamaged, "no header");
  auto secrets = std::make_unique<keyslots::FixedSecrets>();
  secrets->add({keyslots::SecretKind::kKeyFile,
                engine::SecretBytes::copy_of(ByteVector(32, std::byte{0x42})), "the key"});
  keyslots::KeyRing ring;
  ring.add(std::move(secrets));
  auto unlocked = keyslots::unlock_volume(**header, ring, {});
  if (!unlocked) return std::move(unlocked).error();
  return keyslots::plaintext_of(source, std::move(*unlocked), true);
}

engine::Result<DevicePtr> open_layer(Kind kind, std::shared_ptr<engine::GrowableDevice> file) {
  if (kind == Kind::kRaw) return DevicePtr(std::move(file));
  if (kind == Kind::kLuks1 || kind == Kind::kLuks2With4096) return open_luks(file);
  engine::Notices notices;
  auto container = engine::open_container(std::move(file), notices);
  if (!container) return std::move(container).error();
  return container->disk;
}

// Regions of the disk, each written by one thread only, cut at bytes that fall where they may: most
// sectors belong to two threads or more.
struct Region {
  std::uint64_t offset;
  std::uint64_t length;
};

class RandomStack : public ::testing::TestWithParam<Stack> {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img") || !test::have_program("cryptsetup")) {
      GTEST_SKIP() << "qemu-img and cryptsetup make the images; one of them is not installed";
    }
    make();
  }

  // Outer image on the file system, the inner one copied into it; how long the inner file is, is
  // remembered, since the outer device is longer.
  void make() {
    ASSERT_TRUE(make_image(GetParam().outer, outer_path_, 40 * kMiB));
    ASSERT_TRUE(make_image(GetParam().inner, inner_path_, 12 * kMiB));
    const ByteVector inner = test::read_file(inner_path_);
    inner_file_bytes_ = inner.size();
    auto outer = open_outer();
    ASSERT_NE(outer, nullptr);
    ASSERT_TRUE(outer->write(0, inner).ok());
    ASSERT_TRUE(outer->flush().ok());
  }

  DevicePtr open_outer() {
    engine::Notices notices;
    auto file = engine::FileDevice::open(outer_path_, engine::Access::kReadWrite, notices);
    if (!file) return nullptr;
    auto outer = open_layer(GetParam().outer, *file);
    EXPECT_TRUE(outer.ok()) << outer.error().message();
    return outer ? *outer : nullptr;
  }

  DevicePtr open_stack() {
    auto outer = open_outer();
    if (!outer) return nullptr;
    view_ = std::make_shared<test::GrowableView>(outer, inner_file_bytes_);
    auto inner = open_layer(GetParam().inner, view_);
    EXPECT_TRUE(inner.ok()) << inner.error().message();
    return inner ? *inner : nullptr;
  }

  test::TempDir dir_;
  const std::string outer_path_ = dir_ / "outer";
  const std::string inner_path_ = dir_ / "inner";
  std::uint64_t inner_file_bytes_ = 0;
  std::shared_ptr<test::GrowableView> view_;
};

std::vector<std::vector<Region>> share_out(std::uint64_t size, std::mt19937_64& random) {
  std::vector<std::vector<Region>> regions(kThreads);
  for (std::uint64_t at = 0; at < size;) {
    const std::uint64_t longest = random() % 6 == 0 ? 700'000 : 9'000;
    const std::uint64_t length = std::min<std::uint64_t>(1 + random() % longest, size - at);
    regions[random() % kThreads].push_back({at, length});
    at += length;
  }
  return regions;
}

// One thread's work; `model` is the whole disk, of which it touches only its own regions.
void work(BlockDevice& device, std::span<std::byte> model, const std::vector<Region>& mine,
          std::uint64_t seed, std::atomic<int>& wrong) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 400 && wrong == 0; ++i) {
    const Region& region = mine[random() % mine.size()];
    const std::uint64_t skip = random() % region.length;
    const std::uint64_t length = 1 + random() % (region.length - skip);
    const std::uint64_t offset = region.offset + skip;
    const auto expected = model.subspan(offset, length);
    bool fine = true;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const ByteVector data = test::random_bytes(length, random());
        const auto flags =
            random() % 20 == 0 ? engine::WriteFlags::kFua : engine::WriteFlags::kNone;
        fine = device.write(offset, data, flags).ok();
        std::copy(data.begin(), data.end(), expected.begin());
        break;
      }
      case 3: {
        const auto flags =
            random() % 2 == 0 ? engine::WriteFlags::kNoHole : engine::WriteFlags::kNone;
        fine = device.write_zeroes(offset, length, flags).ok();
        std::fill(expected.begin(), expected.end(), std::byte{0});
        break;
      }
      case 4:
        if (random() % 8 == 0) fine = device.flush().ok();
        device.prefetch(offset, length);
        break;
      default: {
        ByteVector got(length);
        fine =
            device.read(offset, got).ok() && std::equal(got.begin(), got.end(), expected.begin());
      }
    }
    if (!fine) {
      ++wrong;
      ADD_FAILURE() << "step " << i << " at " << offset << "+" << length;
    }
  }
}

TEST_P(RandomStack, AgreesWithAByteArray) {
  const std::uint64_t seed = test::test_seed();
  std::mt19937_64 random(seed);
  auto device = open_stack();
  ASSERT_NE(device, nullptr);
  ByteVector model(device->size_bytes());
  ASSERT_GT(model.size(), 4 * kMiB);
  ASSERT_TRUE(device->read(0, model).ok());

  for (int round = 0; round < 2; ++round) {
    const auto regions = share_out(model.size(), random);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (const auto& mine : regions) {
      threads.emplace_back(
          [&, thread_seed = random()] { work(*device, model, mine, thread_seed, wrong); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(wrong, 0);
    ByteVector all(model.size());
    ASSERT_TRUE(device->read(0, all).ok());
    ASSERT_TRUE(all == model) << "after round " << round;
    ASSERT_TRUE(device->flush().ok());
    inner_file_bytes_ = view_->size_bytes();
    device.reset();
    view_.reset();
    device = open_stack();
    ASSERT_NE(device, nullptr);
    ASSERT_TRUE(device->read(0, all).ok());
    ASSERT_TRUE(all == model) << "after reopening, round " << round;
  }
}

constexpr Stack kStacks[] = {
    {Kind::kRaw, Kind::kRaw},
    {Kind::kRaw, Kind::kVhdDynamic},
    {Kind::kRaw, Kind::kLuks1},
    {Kind::kRaw, Kind::kLuks2With4096},
    {Kind::kVhdDynamic, Kind::kVhdDynamic},
    {Kind::kVhdDynamic, Kind::kLuks1},
    {Kind::kVhdDynamic, Kind::kLuks2With4096},
    {Kind::kLuks1, Kind::kVhdDynamic},
    {Kind::kLuks1, Kind::kLuks1},
    {Kind::kLuks1, Kind::kLuks2With4096},
    {Kind::kLuks2With4096, Kind::kVhdDynamic},
    {Kind::kLuks2With4096, Kind::kLuks1},
    {Kind::kLuks2With4096, Kind::kLuks2With4096},
};

INSTANTIATE_TEST_SUITE_P(All, RandomStack, ::testing::ValuesIn(kStacks), [](const auto& stack) {
  return std::string(name_of(stack.param.inner)) + "In" + name_of(stack.param.outer);
});

}  // namespace
}  // namespace latchkey
