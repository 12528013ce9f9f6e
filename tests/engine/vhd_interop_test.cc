// VHD files made by others, and ours read by others: qemu-img, and images from a corpus of real
// ones (LATCHKEY_CORPUS names its folder).
#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "engine/containers/container.h"
#include "engine/file_device.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {
namespace {

using engine::Access;

struct OpenedFile {
  engine::Notices notices;
  engine::Container container;
};

OpenedFile open_path(const std::filesystem::path& path, Access access) {
  OpenedFile opened;
  auto file = engine::FileDevice::open(path.string(), access, opened.notices);
  EXPECT_TRUE(file.ok()) << file.error().message();
  auto container = engine::open_container(*file, opened.notices, path.string());
  EXPECT_TRUE(container.ok()) << container.error().message();
  opened.container = std::move(*container);
  return opened;
}

std::string sha256(engine::BlockDevice& disk) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  ByteVector piece(1024 * 1024);
  for (std::uint64_t at = 0; at < disk.size_bytes();) {
    const std::size_t length = std::min<std::uint64_t>(piece.size(), disk.size_bytes() - at);
    EXPECT_TRUE(disk.read(at, std::span(piece).first(length)).ok());
    EVP_DigestUpdate(context, piece.data(), length);
    at += length;
  }
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  std::string text;
  for (const unsigned char byte : digest) {
    std::array<char, 3> two{};
    std::snprintf(two.data(), two.size(), "%02x", byte);
    text += two.data();
  }
  return text;
}

// Random writes over the whole disk, also kept in `expected`.
void scribble(engine::BlockDevice& disk, ByteVector& expected, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 60; ++i) {
    const std::uint64_t offset = random() % disk.size_bytes();
    const std::uint64_t length =
        std::min<std::uint64_t>(random() % 100000, disk.size_bytes() - offset);
    const ByteVector data = random_bytes(length, random());
    ASSERT_TRUE(disk.write(offset, data).ok());
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  ASSERT_TRUE(disk.flush().ok());
}

class QemuVhd : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }
  std::string path(const std::string& name) const { return "'" + (folder_ / name).string() + "'"; }
  const TempDir folder_;
};

TEST_P(QemuVhd, WhatWeWriteQemuReads) {
  const std::uint64_t seed = test_seed();
  ASSERT_TRUE(shell("qemu-img create -f vpc -o " + std::string(GetParam()) + " " +
                    path("disk.vhd") + " 9M"));
  ByteVector expected;
  {
    OpenedFile opened = open_path(folder_ / "disk.vhd", Access::kReadWrite);
    EXPECT_TRUE(opened.notices.items().empty()) << opened.notices.items()[0].text;
    expected.resize(opened.container.disk->size_bytes());
    EXPECT_GE(expected.size(), 9U << 20);
    scribble(*opened.container.disk, expected, seed);
  }
  write_file(folder_ / "expected.raw", expected);
  EXPECT_TRUE(
      shell("qemu-img compare -f vpc -F raw " + path("disk.vhd") + " " + path("expected.raw")));
  ASSERT_TRUE(shell("qemu-img convert -f vpc -O raw " + path("disk.vhd") + " " + path("out.raw")));
  EXPECT_TRUE(shell("cmp " + path("out.raw") + " " + path("expected.raw")));
}

TEST_P(QemuVhd, WhatQemuWritesWeReadAndWriteOn) {
  const std::uint64_t seed = test_seed();
  ByteVector expected(9U << 20);
  for (std::size_t at = 0; at + 300000 < expected.size(); at += 1500000) {
    const ByteVector data = random_bytes(300000, seed + at);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(at));
  }
  write_file(folder_ / "in.raw", expected);
  ASSERT_TRUE(shell("qemu-img convert -f raw -O vpc -o " + std::string(GetParam()) + " " +
                    path("in.raw") + " " + path("disk.vhd")));
  {
    OpenedFile opened = open_path(folder_ / "disk.vhd", Access::kReadWrite);
    expected.resize(opened.container.disk->size_bytes());  // QEMU rounds up to whole cylinders
    ByteVector held(expected.size());
    ASSERT_TRUE(opened.container.disk->read(0, held).ok());
    ASSERT_EQ(held, expected);
    scribble(*opened.container.disk, expected, seed);
  }
  write_file(folder_ / "expected.raw", expected);
  ASSERT_TRUE(shell("qemu-img convert -f vpc -O raw " + path("disk.vhd") + " " + path("out.raw")));
  EXPECT_TRUE(shell("cmp " + path("out.raw") + " " + path("expected.raw")));
}

TEST_P(QemuVhd, QemuWritesOnToWhatWeWrote) {
  if (!have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const std::uint64_t seed = test_seed();
  ASSERT_TRUE(shell("qemu-img create -f vpc -o " + std::string(GetParam()) + " " +
                    path("disk.vhd") + " 24M"));
  ByteVector expected;
  {
    OpenedFile opened = open_path(folder_ / "disk.vhd", Access::kReadWrite);
    expected.resize(opened.container.disk->size_bytes());
    scribble(*opened.container.disk, expected, seed);
  }
  ASSERT_TRUE(shell("qemu-io -f vpc -c 'write -P 0x5a 1M 9M' -c 'write -P 0xa5 20M 513k' " +
                    path("disk.vhd")));
  std::fill_n(expected.begin() + (1 << 20), 9 << 20, std::byte{0x5a});
  std::fill_n(expected.begin() + (20 << 20), 513 << 10, std::byte{0xa5});
  OpenedFile opened = open_path(folder_ / "disk.vhd", Access::kReadWrite);
  EXPECT_TRUE(opened.notices.items().empty()) << opened.notices.items()[0].text;
  scribble(*opened.container.disk, expected, seed + 1);
  ByteVector held(expected.size());
  ASSERT_TRUE(opened.container.disk->read(0, held).ok());
  EXPECT_EQ(held, expected);
}

INSTANTIATE_TEST_SUITE_P(Subformats, QemuVhd,
                         ::testing::Values("subformat=dynamic", "subformat=fixed",
                                           "subformat=dynamic,force_size=on",
                                           "subformat=fixed,force_size=on"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::ranges::replace_if(
                               name, [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

// Images made by Windows.
TEST(VhdCorpus, DisksHaveTheirDigest) {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  if (folder == nullptr) GTEST_SKIP() << "LATCHKEY_CORPUS is not set";
  std::ifstream table(std::filesystem::path(folder) / "expected.tsv");
  ASSERT_TRUE(table) << "no expected.tsv in " << folder;
  int checked = 0;
  for (std::string line; std::getline(table, line);) {
    std::istringstream columns(line);
    std::array<std::string, 6> column;
    for (std::string& text : column) std::getline(columns, text, '\t');
    if (!column[0].starts_with("containers/") || !column[0].ends_with(".vhd")) continue;
    const auto path = std::filesystem::path(folder) / column[0];
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not unpacked";
    OpenedFile opened = open_path(path, Access::kReadOnly);
    EXPECT_EQ(std::to_string(opened.container.disk->size_bytes()), column[4]) << column[0];
    EXPECT_EQ(sha256(*opened.container.disk), column[5]) << column[0];
    EXPECT_TRUE(opened.notices.items().empty());
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

}  // namespace
}  // namespace latchkey::test
