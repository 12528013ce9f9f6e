// The kernel tells of lost pages once, to one of those who sync. Whoever syncs at the same time
// must not be told that all is well. An executable of its own: it brings its own fdatasync().
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/file_device.h"
#include "tests/support/test_bytes.h"

namespace {

std::mutex mutex;
std::condition_variable changed;
int syncs_begun = 0;  // under the mutex

}  // namespace

// The first one fails, but not before another one was let in beside it, or surely is not.
extern "C" int fdatasync(int) {
  constexpr std::chrono::milliseconds kLongEnough{300};
  std::unique_lock lock(mutex);
  if (++syncs_begun > 1) {
    changed.notify_all();
    return 0;
  }
  changed.wait_for(lock, kLongEnough, [] { return syncs_begun > 1; });
  errno = EIO;
  return -1;
}

namespace latchkey::engine {
namespace {

TEST(FileFlush, NobodyIsToldThatLostPagesAreSafe) {
  const test::TempDir dir;
  const std::string path = dir / "image";
  test::write_file(path, test::random_bytes(8192, 1));
  Notices notices;
  auto opened = FileDevice::open(path, Access::kReadWrite, notices);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const auto device = *opened;
  IoStatus first;
  IoStatus second;
  {
    const std::jthread one([&] { first = device->flush(); });
    const std::jthread other([&] { second = device->flush(); });
  }
  EXPECT_EQ(syncs_begun, 1) << "the file was synced again after it had lost pages";
  EXPECT_EQ(first.code(), IoCode::kFailed);
  EXPECT_EQ(second.code(), IoCode::kFailed);
  EXPECT_EQ(device->flush().code(), IoCode::kFailed);
}

}  // namespace
}  // namespace latchkey::engine
