// Requests above 1 MiB, which go in pieces: what is promised when something fails half way.
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontends/nbd/transmission.h"
#include "tests/nbd/raw_client.h"
#include "tests/nbd/scripted_device.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using namespace nbd;
using engine::IoCode;

constexpr std::uint64_t kSize = 40 << 20;
constexpr std::uint32_t kMib = 1 << 20;

constexpr std::uint32_t mib(std::uint32_t count) {
  return count * kMib;
}
constexpr std::uint32_t kEperm = 1;
constexpr std::uint32_t kEio = 5;
constexpr std::uint32_t kEinval = 22;
constexpr std::uint32_t kEnospc = 28;
constexpr std::uint32_t kEoverflow = 75;

bool is_pattern(engine::Bytes bytes, std::uint64_t offset) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != ScriptedDevice::pattern(offset + i)) return false;
  }
  return true;
}

class StreamingTest : public ::testing::TestWithParam<bool> {
 protected:
  StreamingTest() { client_.connect(structured()); }
  static bool structured() { return GetParam(); }

  std::uint32_t error_value() {
    if (!structured()) return client_.simple_reply().error;
    const ByteVector magic = client_.receive(4);
    if (engine::load_be<std::uint32_t>(magic, 0) == kSimpleReplyMagic) {
      return engine::load_be<std::uint32_t>(client_.receive(12), 0);
    }
    const ByteVector rest = client_.receive(16);
    return engine::load_be<std::uint32_t>(client_.receive(engine::load_be<std::uint32_t>(rest, 12)),
                                          0);
  }

  std::shared_ptr<ScriptedDevice> device_ = std::make_shared<ScriptedDevice>(kSize, true);
  ServedExports server_{one_export(device_)};
  RawClient client_{server_.socket_path()};
};

class StructuredStreamingTest : public StreamingTest {};
class SimpleStreamingTest : public StreamingTest {};

TEST_P(StreamingTest, ReadsUpTo32MiB) {
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {0, kMib + 1}, {777, mib(3)}, {kSize - mib(32), mib(32)}}) {
    client_.send(request(kCmdRead, 0, 9, offset, length));
    if (!structured()) {
      EXPECT_EQ(0U, client_.simple_reply().error);
      EXPECT_TRUE(is_pattern(client_.receive(length), offset));
      continue;
    }
    std::uint64_t next = offset;
    bool done = false;
    while (!done) {
      const Chunk chunk = client_.chunk();
      ASSERT_EQ(kReplyOffsetData, chunk.type);
      EXPECT_EQ(next, chunk.offset());
      EXPECT_LE(chunk.data().size(), kMib);
      EXPECT_TRUE(is_pattern(chunk.data(), next));
      next += chunk.data().size();
      done = chunk.done();
    }
    EXPECT_EQ(offset + length, next);
  }
  client_.expect_alive(structured());
}

TEST_P(StreamingTest, ReadsAbove32MiBAreRefused) {
  client_.send(request(kCmdRead, 0, 9, 0, mib(32) + 1));
  EXPECT_EQ(kEinval, error_value());
  client_.expect_alive(structured());
}

TEST_P(StructuredStreamingTest, UnfragmentedReads) {
  client_.send(request(kCmdRead, kCmdFlagDf, 9, 1, kMib));
  const Chunk chunk = client_.chunk();
  EXPECT_EQ(kReplyOffsetData, chunk.type);
  EXPECT_TRUE(chunk.done());
  EXPECT_EQ(std::size_t{kMib}, chunk.data().size());
  EXPECT_TRUE(is_pattern(chunk.data(), 1));
  client_.send(request(kCmdRead, kCmdFlagDf, 9, 0, kMib + 1));
  EXPECT_EQ(kEoverflow, error_value());
  client_.expect_alive(true);
}

TEST_P(StructuredStreamingTest, ErrorInTheMiddleOfARead) {
  device_->fail_reads(mib(3) + 5, IoCode::kFailed);
  client_.send(request(kCmdRead, 0, 9, 100, mib(6)));
  std::uint64_t next = 100;
  Chunk chunk = client_.chunk();
  for (; chunk.type == kReplyOffsetData; chunk = client_.chunk()) {
    EXPECT_FALSE(chunk.done());
    EXPECT_TRUE(is_pattern(chunk.data(), next));
    next += chunk.data().size();
  }
  EXPECT_EQ(kReplyErrorOffset, chunk.type);
  EXPECT_TRUE(chunk.done());
  EXPECT_EQ(kEio, chunk.error());
  EXPECT_EQ(next, chunk.error_offset());
  EXPECT_LE(next, mib(3) + 5U);
  EXPECT_GT(next, mib(2) + 5U);
  client_.expect_alive(true);
}

TEST_P(SimpleStreamingTest, ErrorInTheMiddleOfAReadCloses) {
  device_->fail_reads(mib(3) + 5, IoCode::kFailed);
  client_.send(request(kCmdRead, 0, 9, 100, mib(6)));
  EXPECT_EQ(0U, client_.simple_reply().error);
  const ByteVector got = client_.receive_up_to(mib(6));
  EXPECT_LE(got.size(), mib(3) + 5U - 100);
  EXPECT_TRUE(is_pattern(got, 100));
}

TEST_P(StreamingTest, ErrorInTheFirstPieceIsAnAnswer) {
  device_->fail_reads(100, IoCode::kDamaged);
  client_.send(request(kCmdRead, 0, 9, 100, mib(6)));
  EXPECT_EQ(kEio, error_value());
  client_.expect_alive(structured());
}

TEST_P(StreamingTest, WritesUpTo32MiB) {
  for (const std::uint32_t length : {kMib + 1, mib(5) + 333, mib(32)}) {
    ByteVector data(length);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = ScriptedDevice::pattern(i * 3 + length);
    ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 4099, length, data)));
    EXPECT_EQ(0U, error_value());
    const ByteVector bytes = device_->bytes();
    EXPECT_TRUE(std::equal(data.begin(), data.end(), bytes.begin() + 4099));
    EXPECT_TRUE(is_pattern(engine::Bytes(bytes).first(4099), 0));
    EXPECT_TRUE(is_pattern(engine::Bytes(bytes).subspan(4099 + mib(32)), 4099 + mib(32)));
  }
  EXPECT_EQ(0U, device_->count("flush"));
  client_.expect_alive(structured());
}

TEST_P(StreamingTest, PiecesAreCutAtSectors) {
  ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 513, mib(3), ByteVector(mib(3)))));
  EXPECT_EQ(0U, error_value());
  client_.send(request(kCmdRead, 0, 9, 513, mib(3)));
  device_->wait_for("read", 4);
  for (const ScriptedDevice::Event& event : device_->events()) {
    if (event.what == "prefetch" || event.offset == 513) continue;
    EXPECT_EQ(0U, event.offset % 65536) << event.what;
  }
}

TEST_P(StreamingTest, WritesAreAppliedAsTheyArrive) {
  const ByteVector data(mib(4));
  ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 0, mib(4))));
  ASSERT_TRUE(client_.send(engine::Bytes(data).first(mib(3))));
  device_->wait_for("write", 2);  // with a quarter of the payload still to come
  ASSERT_TRUE(client_.send(engine::Bytes(data).subspan(mib(3))));
  EXPECT_EQ(0U, error_value());
}

TEST_P(StreamingTest, FuaFlushesOnceAtTheEnd) {
  ASSERT_TRUE(client_.send(request(kCmdWrite, kCmdFlagFua, 9, 0, mib(2), ByteVector(mib(2)))));
  EXPECT_EQ(0U, error_value());
  EXPECT_EQ(1U, device_->count("flush"));
  EXPECT_EQ("flush", device_->events().back().what);
  device_->fail_flushes(IoCode::kFailed);
  ASSERT_TRUE(client_.send(request(kCmdWrite, kCmdFlagFua, 9, 0, mib(2), ByteVector(mib(2)))));
  EXPECT_EQ(kEio, error_value());
}

TEST_P(StreamingTest, RefusedWritesChangeNothing) {
  device_->seal(mib(4), 1);
  const ByteVector data(mib(8));
  ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 0, mib(8), data)));
  EXPECT_EQ(kEperm, error_value());
  ASSERT_TRUE(client_.send(
      request(kCmdWrite, 0, 9, kSize - kMib, mib(2), engine::Bytes(data).first(mib(2)))));
  EXPECT_EQ(kEnospc, error_value());
  ASSERT_TRUE(client_.send(
      request(kCmdWrite, 0, 9, UINT64_MAX - 5, mib(2), engine::Bytes(data).first(mib(2)))));
  EXPECT_EQ(kEnospc, error_value());
  ASSERT_TRUE(client_.send(
      request(kCmdWrite, kCmdFlagNoHole, 9, 0, mib(2), engine::Bytes(data).first(mib(2)))));
  EXPECT_EQ(kEinval, error_value());
  EXPECT_EQ(0U, device_->count("write"));
  client_.expect_alive(structured());
}

TEST_P(StreamingTest, OversizedWritesAreDroppedOrClose) {
  ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 0, mib(33), ByteVector(mib(33)))));
  EXPECT_EQ(kEinval, error_value());
  EXPECT_EQ(0U, device_->count("write"));
  client_.expect_alive(structured());
  client_.send(request(kCmdWrite, 0, 9, 0, 0xffffffff));
  EXPECT_TRUE(client_.closed());
}

TEST_P(StreamingTest, HalfAPayloadThenGone) {
  ASSERT_TRUE(client_.send(request(kCmdWrite, 0, 9, 0, mib(4), ByteVector(mib(2)))));
  ASSERT_EQ(0, ::shutdown(client_.fd(), SHUT_WR));
  EXPECT_TRUE(client_.closed());
  RawClient next(server_.socket_path());
  next.connect(structured());
  next.expect_alive(structured());
}

TEST_P(StreamingTest, ClientThatGoesAwayInTheMiddleOfAnAnswer) {
  Message batch;
  for (std::uint64_t i = 0; i < 4; ++i) batch.raw(request(kCmdRead, 0, i, 0, mib(32)));
  client_.send(batch);
  client_.receive(1000);
  client_.disconnect();
  RawClient next(server_.socket_path());
  next.connect(structured());
  next.expect_alive(structured());
}

std::string mode_name(const ::testing::TestParamInfo<bool>& mode) {
  return mode.param ? "Structured" : "Simple";
}
INSTANTIATE_TEST_SUITE_P(Replies, StreamingTest, ::testing::Bool(), mode_name);
INSTANTIATE_TEST_SUITE_P(Replies, StructuredStreamingTest, ::testing::Values(true), mode_name);
INSTANTIATE_TEST_SUITE_P(Replies, SimpleStreamingTest, ::testing::Values(false), mode_name);

}  // namespace
}  // namespace latchkey::frontends
