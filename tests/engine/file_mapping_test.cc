// Bytes lent out of the page cache: the same as those that are read, and never wrong ones when the
// file shrinks under whoever uses them.
#include "engine/file_mapping.h"

#include <atomic>
#include <csignal>
#include <fstream>
#include <numeric>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/crypt_device.h"
#include "engine/file_device.h"
#include "engine/map_device.h"
#include "engine/piece_map.h"
#include "engine/unique_fd.h"
#include "tests/support/test_bytes.h"

namespace latchkey::engine {
namespace {

using test::ByteVector;

constexpr std::size_t kPage = 4096;
constexpr std::size_t kSize = std::size_t{4} << 20;

class FileMappingTest : public ::testing::Test {
 protected:
  FileMappingTest() { test::write_file(path_, bytes_); }

  std::shared_ptr<FileDevice> open(Access access = Access::kReadOnly) {
    auto device = FileDevice::open(path_, access, notices_);
    return device ? *device : nullptr;
  }
  void shrink_to(std::size_t size) {
    ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }
  static DevicePtr decrypted(const DevicePtr& below) {
    auto spec = parse_cipher_spec("aes-xts-plain64");
    auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(test::random_bytes(64, 3)));
    return make_crypt_layer(below, 0, below->size_bytes(), std::move(*cipher));
  }
  static unsigned sum(std::span<const std::byte> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0U, [](unsigned all, std::byte one) {
      return all + std::to_integer<unsigned>(one);
    });
  }

  test::TempDir dir_;
  const std::string path_ = dir_ / "image";
  const ByteVector bytes_ = test::random_bytes(kSize, 1);
  Notices notices_;
};

TEST_F(FileMappingTest, LendsWhatTheFileHolds) {
  const auto device = open();
  ASSERT_NE(device, nullptr);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, kPage - 1, kSize - 70'000}) {
    const Loan loan = device->lend(offset, 70'000);
    ASSERT_EQ(loan.bytes.size(), 70'000U) << offset;
    EXPECT_TRUE(std::ranges::equal(loan.bytes, std::span(bytes_).subspan(offset, 70'000)));
    EXPECT_TRUE(loan.intact());
  }
  EXPECT_TRUE(device->lend(kSize - 1, 2).bytes.empty());
  EXPECT_TRUE(device->lend(0, 0).bytes.empty());
  EXPECT_TRUE(device->lend(0, kSize).bytes.empty()) << "more than a loan may be";
}

// Where the temporary folder is memory, nothing can be forgotten, and all of it is lent.
TEST_F(FileMappingTest, APageThatIsMissingInTheMiddleComes) {
  const UniqueFd fd(::open(path_.c_str(), O_RDWR));
  ASSERT_EQ(fsync(fd.get()), 0);
  constexpr std::size_t kLoan = std::size_t{1} << 20;
  ASSERT_EQ(posix_fadvise(fd.get(), kLoan / 4, kLoan / 2, POSIX_FADV_DONTNEED), 0);
  const auto device = open();
  const Loan loan = device->lend(0, kLoan);
  ASSERT_EQ(loan.bytes.size(), kLoan);
  EXPECT_TRUE(std::ranges::equal(loan.bytes, std::span(bytes_).first(kLoan)));
  EXPECT_TRUE(loan.intact());
}

TEST_F(FileMappingTest, WhatCanBeWrittenLendsNothing) {
  EXPECT_TRUE(open(Access::kReadWrite)->lend(0, kPage).bytes.empty());
}

TEST_F(FileMappingTest, AMapLendsOutOfOneExtent) {
  const auto device = open();
  auto pieces = std::make_unique<PieceMap>();
  pieces->data(0, kPage, kPage);
  pieces->data(0, 0, kPage);
  MapDevice map({device}, std::move(pieces), {.size_bytes = 2 * kPage});
  const Loan loan = map.lend(100, kPage - 100);
  EXPECT_TRUE(std::ranges::equal(loan.bytes, std::span(bytes_).subspan(kPage + 100, kPage - 100)));
  EXPECT_TRUE(map.lend(100, kPage).bytes.empty());
}

TEST_F(FileMappingTest, AFileThatShrinksIsSurvivedAndSaid) {
  const auto device = open();
  const Loan loan = device->lend(kSize / 2, 64 * 1024);
  ASSERT_FALSE(loan.bytes.empty());
  shrink_to(kSize / 2 + kPage);
  EXPECT_GT(sum(loan.bytes), 0U);  // touches what is not there any more, too
  EXPECT_FALSE(loan.intact());
  EXPECT_TRUE(device->lend(0, kPage).bytes.empty()) << "it lends again";
  ByteVector into(kPage);
  EXPECT_EQ(device->read(kSize / 2 + kPage, into).code(), IoCode::kFailed);
  EXPECT_TRUE(device->read(0, into).ok());
}

// No signal comes there: the kernel fills the page with zeros.
TEST_F(FileMappingTest, AnEndInsideAPageIsNoticed) {
  const auto device = open();
  const Loan loan = device->lend(kSize - kPage, kPage);
  ASSERT_FALSE(loan.bytes.empty());
  shrink_to(kSize - 100);
  EXPECT_EQ(loan.bytes.back(), std::byte{0});
  EXPECT_FALSE(loan.intact());
}

TEST_F(FileMappingTest, DecryptsTheSameAsFromACopy) {
  const auto lent = decrypted(open());
  ByteVector from_loans(kSize);
  ASSERT_TRUE(lent->read(0, from_loans).ok());
  ByteVector from_copies(kSize);
  const auto copied = decrypted(open());
  for (std::size_t at = 0; at < kSize; at += kPage) {  // too small to be lent
    ASSERT_TRUE(copied->read(at, std::span(from_copies).subspan(at, kPage)).ok());
  }
  EXPECT_EQ(from_loans, from_copies);
}

TEST_F(FileMappingTest, NoReaderGetsWrongBytesWhileTheFileShrinks) {
  const auto device = decrypted(open());
  ByteVector expected(kSize);
  ASSERT_TRUE(device->read(0, expected).ok());
  std::atomic<bool> go{false};
  std::atomic<int> wrong{0};
  std::atomic<int> failed{0};
  const auto reader = [&](std::size_t seed) {
    constexpr std::size_t kPiece = 128 * 1024;
    ByteVector into(kPiece);
    while (!go.load()) std::this_thread::yield();
    for (std::size_t i = 0; i < 400; ++i) {
      const std::size_t at = (i * 7 + seed) % (kSize / kPiece) * kPiece;
      if (!device->read(at, into).ok()) {
        ++failed;
      } else if (!std::ranges::equal(into, std::span(expected).subspan(at, kPiece))) {
        ++wrong;
      }
    }
  };
  {
    std::jthread first(reader, 0);
    std::jthread second(reader, 5);
    go = true;
    for (std::size_t size = kSize; size > kSize / 4; size -= 50'000) shrink_to(size);
  }
  EXPECT_EQ(wrong, 0);
  ByteVector last(128 * 1024);
  EXPECT_FALSE(device->read(kSize - last.size(), last).ok());
}

TEST_F(FileMappingTest, FewPagesOfAFileStayResident) {
  const auto resident_kib = [] {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      if (word == "RssFile:") {
        long kib = 0;
        status >> kib;
        return kib;
      }
    }
    return -1L;
  };
  constexpr std::size_t kBig = std::size_t{128} << 20;
  constexpr std::size_t kPiece = 128 * 1024;
  test::write_file(path_, ByteVector(kBig, std::byte{1}));
  const auto device = open();
  const long before = resident_kib();
  ASSERT_GT(before, 0);
  std::size_t lent = 0;
  for (std::size_t at = 0; at < kBig; at += kPiece) {
    const Loan loan = device->lend(at, kPiece);
    if (loan.bytes.empty()) continue;
    EXPECT_EQ(sum(loan.bytes), kPiece);
    ++lent;
  }
  if (lent < kBig / kPiece / 2) GTEST_SKIP() << "the page cache did not keep the file";
  EXPECT_LT(resident_kib() - before, 24 * 1024);
}

// A sanitizer's handler reports it and exits with a status of its own.
bool died(int status) {
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGBUS;
  return WEXITSTATUS(status) == 1 ||
         WEXITSTATUS(status) == 66;  // AddressSanitizer, ThreadSanitizer
}

TEST(FileMappingDeathTest, OtherMappingsFailAsEver) {
  const auto touch_what_is_gone = [] {
    const test::TempDir dir;
    test::write_file(dir / "ours", ByteVector(kPage));
    Notices notices;
    const auto device = FileDevice::open(dir / "ours", Access::kReadOnly, notices);
    test::write_file(dir / "other", ByteVector(kPage));
    const int fd = ::open((dir / "other").c_str(), O_RDWR);
    const auto* const bytes =
        static_cast<volatile std::byte*>(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0));
    if (!device || ftruncate(fd, 0) != 0) _exit(2);
    _exit(bytes[0] == std::byte{0} ? 3 : 4);
  };
  EXPECT_EXIT(touch_what_is_gone(), died, "");
}

}  // namespace
}  // namespace latchkey::engine
