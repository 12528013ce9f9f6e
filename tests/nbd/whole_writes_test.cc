// Long writes that touch a part which takes only zeros: their bytes decide, so nothing of them may
// be written before all of them are there.
#include "frontends/nbd/whole_writes.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>

#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "engine/piece_map.h"
#include "tests/nbd/raw_client.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using namespace nbd;

constexpr std::uint32_t mib(std::uint32_t count) {
  return count << 20;
}
constexpr std::uint32_t kEperm = 1;
constexpr std::uint64_t kSize = mib(40);
constexpr std::uint64_t kBlankAt = mib(5) + 512;
constexpr std::uint64_t kBlankBytes = 64 * 1024;

// Memory that tells when the server has asked whether a write would be taken.
class AskedDevice final : public engine::BlockDevice {
 public:
  AskedDevice()
      : BlockDevice({kSize, 512, true}),
        memory_(std::make_shared<engine::MemoryDevice>(ByteVector(kSize, std::byte{0x11}), true)) {}

  void wait_until_asked(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= times; });
  }
  ByteVector bytes() const { return memory_->copy_bytes(); }

 private:
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    return memory_->read(offset, into);
  }
  engine::IoStatus do_write(std::uint64_t offset,
                            std::span<const std::byte> from) noexcept override {
    return memory_->write(offset, from);
  }
  engine::IoStatus do_check_write(std::uint64_t offset, std::uint64_t) noexcept override {
    const std::lock_guard lock(mutex_);
    if (offset == 0) ++asked_;
    changed_.notify_all();
    return {};
  }

  const std::shared_ptr<engine::MemoryDevice> memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int asked_ = 0;
};

ByteVector payload(std::uint32_t size, std::byte blank = std::byte{0}) {
  ByteVector out(size, std::byte{0x77});
  std::fill_n(out.begin() + kBlankAt, kBlankBytes, blank);
  return out;
}

class WholeWriteTest : public ::testing::Test {
 protected:
  static engine::DevicePtr with_blank(const std::shared_ptr<AskedDevice>& storage) {
    auto map = std::make_unique<engine::PieceMap>();
    map->data(0, 0, kBlankAt).blank(kBlankBytes);
    map->data(0, kBlankAt + kBlankBytes, kSize - kBlankAt - kBlankBytes);
    return std::make_shared<engine::MapDevice>(std::vector<engine::DevicePtr>{storage},
                                               std::move(map), engine::Geometry{kSize, 512, true});
  }
  static NbdOptions two_at_most() {
    NbdOptions options;
    options.max_connections = 2;
    options.full_wait = std::chrono::seconds(30);
    return options;
  }
  ByteVector expected(std::uint32_t written) const {
    ByteVector out(kSize, std::byte{0x11});
    std::fill_n(out.begin(), written, std::byte{0x77});
    std::fill_n(out.begin() + kBlankAt, kBlankBytes, std::byte{0x11});
    return out;
  }

  std::shared_ptr<AskedDevice> storage_ = std::make_shared<AskedDevice>();
  ServedExports server_{one_export(with_blank(storage_)), two_at_most()};
};

TEST_F(WholeWriteTest, ZerosInTheBlankPartAndDataAroundAreWritten) {
  RawClient client(server_.socket_path());
  client.connect(false);
  for (const std::uint32_t size : {mib(6), mib(32)}) {
    ASSERT_TRUE(client.send(request(kCmdWrite, kCmdFlagFua, 1, 0, size, payload(size))));
    EXPECT_EQ(0U, client.simple_reply().error);
    EXPECT_EQ(storage_->bytes(), expected(size));
  }
  client.expect_alive(false);
}

TEST_F(WholeWriteTest, OneOtherByteRefusesAllOfIt) {
  RawClient client(server_.socket_path());
  client.connect(false);
  for (const std::uint64_t at : {kBlankAt, kBlankAt + kBlankBytes - 1}) {
    ByteVector bytes = payload(mib(8));
    bytes[at] = std::byte{1};
    ASSERT_TRUE(client.send(request(kCmdWrite, 0, 1, 0, mib(8), bytes)));
    EXPECT_EQ(kEperm, client.simple_reply().error);
    EXPECT_EQ(storage_->bytes(), ByteVector(kSize, std::byte{0x11}));
  }
  // Up to 1 MiB a write is never streamed.
  ASSERT_TRUE(client.send(
      request(kCmdWrite, 0, 1, kBlankAt - 512, mib(1), ByteVector(mib(1), std::byte{1}))));
  EXPECT_EQ(kEperm, client.simple_reply().error);
  EXPECT_EQ(storage_->bytes(), ByteVector(kSize, std::byte{0x11}));
  client.expect_alive(false);
}

TEST_F(WholeWriteTest, RequestsBehindItAreServedInOrder) {
  RawClient client(server_.socket_path());
  client.connect(false);
  Message batch;
  batch.raw(request(kCmdWrite, 0, 1, 0, mib(6), payload(mib(6))));
  batch.raw(request(kCmdRead, 0, 2, 0, 4));
  ASSERT_TRUE(client.send(batch));
  EXPECT_EQ(1U, client.simple_reply().cookie);
  EXPECT_EQ(2U, client.simple_reply().cookie);
  EXPECT_EQ(client.receive(4), ByteVector(4, std::byte{0x77}));
}

TEST_F(WholeWriteTest, TwoAtATimeTakeTurns) {
  RawClient slow(server_.socket_path());
  slow.connect(false);
  const ByteVector bytes = payload(mib(8));
  ASSERT_TRUE(slow.send(request(kCmdWrite, 0, 1, 0, mib(8))));
  ASSERT_TRUE(slow.send(engine::Bytes(bytes).first(mib(2))));
  storage_->wait_until_asked(1);
  std::thread other([&] {
    RawClient quick(server_.socket_path());
    quick.connect(false);
    EXPECT_TRUE(quick.send(request(kCmdWrite, 0, 2, 0, mib(8), bytes)));
    EXPECT_EQ(0U, quick.simple_reply().error);
  });
  storage_->wait_until_asked(2);
  ASSERT_TRUE(slow.send(engine::Bytes(bytes).subspan(mib(2))));
  EXPECT_EQ(0U, slow.simple_reply().error);
  other.join();
  EXPECT_EQ(storage_->bytes(), expected(mib(8)));
}

TEST_F(WholeWriteTest, OneThatGoesAwayLeavesTheLine) {
  RawClient slow(server_.socket_path());
  slow.connect(false);
  const ByteVector bytes = payload(mib(8));
  ASSERT_TRUE(slow.send(request(kCmdWrite, 0, 1, 0, mib(8))));
  ASSERT_TRUE(slow.send(engine::Bytes(bytes).first(mib(2))));
  storage_->wait_until_asked(1);
  for (int asked = 2; asked < 5; ++asked) {
    RawClient leaving(server_.socket_path());  // the second of two: needs the last one's place
    leaving.connect(false);
    ASSERT_TRUE(leaving.send(request(kCmdWrite, 0, 2, 0, mib(8))));
    ASSERT_TRUE(leaving.send(engine::Bytes(bytes).first(1000)));
    storage_->wait_until_asked(asked);
  }
  ASSERT_TRUE(slow.send(engine::Bytes(bytes).subspan(mib(2))));
  EXPECT_EQ(0U, slow.simple_reply().error);
  EXPECT_EQ(storage_->bytes(), expected(mib(8)));
}

TEST_F(WholeWriteTest, OneThatGoesAwayInItsTurnEndsIt) {
  {
    RawClient leaving(server_.socket_path());
    leaving.connect(false);
    ASSERT_TRUE(leaving.send(request(kCmdWrite, 0, 1, 0, mib(8), ByteVector(mib(2)))));
  }
  RawClient client(server_.socket_path());
  client.connect(false);
  ASSERT_TRUE(client.send(request(kCmdWrite, 0, 1, 0, mib(6), payload(mib(6)))));
  EXPECT_EQ(0U, client.simple_reply().error);
  EXPECT_EQ(storage_->bytes(), expected(mib(6)));
}

TEST_F(WholeWriteTest, StoppingWaitsForNobody) {
  RawClient slow(server_.socket_path());
  slow.connect(false);
  ASSERT_TRUE(slow.send(request(kCmdWrite, 0, 1, 0, mib(8), ByteVector(mib(2)))));
  storage_->wait_until_asked(1);
  RawClient waiting(server_.socket_path());
  waiting.connect(false);
  ASSERT_TRUE(waiting.send(request(kCmdWrite, 0, 2, 0, mib(8), ByteVector(1000))));
  storage_->wait_until_asked(2);
  EXPECT_TRUE(server_.stop().ok());
  EXPECT_TRUE(slow.closed());
  EXPECT_TRUE(waiting.closed());
  EXPECT_EQ(storage_->bytes(), ByteVector(kSize, std::byte{0x11}));
}

class WaitingStream final : public ByteStream {
 public:
  explicit WaitingStream(bool alive) : alive_(alive) {}
  std::size_t receive(engine::MutableBytes) noexcept override { return 0; }
  bool send(std::span<iovec>) noexcept override { return false; }
  bool stopping() const noexcept override { return false; }
  bool wait_for(int descriptor, std::size_t) noexcept override {
    pollfd wanted{descriptor, POLLIN, 0};
    return alive_ && ::poll(&wanted, 1, -1) == 1;
  }

 private:
  const bool alive_;
};

TEST(WholeWrites, OneTurnAtATime) {
  const auto line = WholeWrites::make();
  ASSERT_TRUE(line.ok());
  WaitingStream alive(true);
  WaitingStream gone(false);
  int inside = 0;  // guarded by the turns alone: a race detector sees two at once
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const auto turn = line->take(alive, 100, 0);
        ASSERT_TRUE(turn.has_value());
        EXPECT_EQ(turn->bytes().size(), 100U);
        EXPECT_EQ(++inside, 1);
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto held = line->take(gone, 1, 0);
  EXPECT_TRUE(held.has_value()) << "a free turn needs no waiting";
  EXPECT_FALSE(line->take(gone, 1, 0).has_value());
}

}  // namespace
}  // namespace latchkey::frontends
