// Requests of up to 1 MiB: every command, and every way to get one wrong.
#include "frontends/nbd/transmission.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/nbd/raw_client.h"
#include "tests/nbd/scripted_device.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using namespace nbd;
using engine::IoCode;

constexpr std::uint64_t kSize = 8 << 20;
constexpr std::uint32_t kEperm = 1;
constexpr std::uint32_t kEio = 5;
constexpr std::uint32_t kEinval = 22;
constexpr std::uint32_t kEnospc = 28;
constexpr std::uint32_t kEnotsup = 95;

ByteVector pattern(std::uint64_t offset, std::size_t length) {
  ByteVector bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = ScriptedDevice::pattern(offset + i);
  return bytes;
}

class TransmissionTest : public ::testing::TestWithParam<bool> {
 protected:
  explicit TransmissionTest(bool writable = true, bool allow_discard = true)
      : device_(std::make_shared<ScriptedDevice>(kSize, writable)),
        server_(one_export(device_), options(allow_discard)),
        client_(server_.socket_path()) {
    client_.connect(structured(), structured());
  }
  static NbdOptions options(bool allow_discard) {
    NbdOptions options;
    options.allow_discard = allow_discard;
    return options;
  }
  static bool structured() { return GetParam(); }

  // Sends one request that is answered without data; the error value, 0 for success.
  std::uint32_t result_of(std::uint16_t command, std::uint16_t flags, std::uint64_t offset,
                          std::uint32_t length, engine::Bytes payload = {}) {
    client_.send(request(command, flags, ++cookie_, offset, length, payload));
    const ByteVector magic = client_.receive(4);
    if (engine::load_be<std::uint32_t>(magic, 0) == kSimpleReplyMagic) {
      const ByteVector rest = client_.receive(12);
      EXPECT_EQ(cookie_, engine::load_be<std::uint64_t>(rest, 4));
      return engine::load_be<std::uint32_t>(rest, 0);
    }
    EXPECT_TRUE(structured());
    const ByteVector rest = client_.receive(16);
    EXPECT_EQ(kReplyFlagDone, engine::load_be<std::uint16_t>(rest, 0));
    EXPECT_EQ(cookie_, engine::load_be<std::uint64_t>(rest, 4));
    const ByteVector payload_in = client_.receive(engine::load_be<std::uint32_t>(rest, 12));
    const auto type = engine::load_be<std::uint16_t>(rest, 2);
    if (type == kReplyNone) return 0;
    EXPECT_TRUE(type == kReplyError || type == kReplyErrorOffset);
    const auto words = engine::load_be<std::uint16_t>(payload_in, 4);
    EXPECT_GT(words, 0);
    EXPECT_EQ(payload_in.size(), 6U + words + (type == kReplyErrorOffset ? 8 : 0));
    return engine::load_be<std::uint32_t>(payload_in, 0);
  }

  void expect_data(std::uint64_t cookie, std::uint64_t offset, std::size_t length) {
    if (!structured()) {
      const SimpleReply reply = client_.simple_reply();
      EXPECT_EQ(cookie, reply.cookie);
      EXPECT_EQ(0U, reply.error);
      EXPECT_EQ(pattern(offset, length), client_.receive(length));
      return;
    }
    const Chunk chunk = client_.chunk();
    EXPECT_EQ(kReplyOffsetData, chunk.type);
    EXPECT_TRUE(chunk.done());
    EXPECT_EQ(cookie, chunk.cookie);
    EXPECT_EQ(offset, chunk.offset());
    EXPECT_EQ(pattern(offset, length), ByteVector(chunk.data().begin(), chunk.data().end()));
  }

  std::shared_ptr<ScriptedDevice> device_;
  ServedExports server_;
  RawClient client_;
  std::uint64_t cookie_ = 0x1122334455667700;
};

class ReadOnlyTransmissionTest : public TransmissionTest {
 protected:
  ReadOnlyTransmissionTest() : TransmissionTest(false) {}
};

class NoTrimTransmissionTest : public TransmissionTest {
 protected:
  NoTrimTransmissionTest() : TransmissionTest(true, false) {}
};

TEST_P(TransmissionTest, ReadsAnyRange) {
  const std::vector<std::pair<std::uint64_t, std::uint32_t>> ranges{
      {0, 1},       {0, 512},       {511, 2},       {4095, 4099},  {kSize - 1, 1},
      {1, 1 << 20}, {kSize - 7, 7}, {65536, 65536}, {12345, 99999}};
  for (const auto& [offset, length] : ranges) {
    client_.send(request(kCmdRead, 0, ++cookie_, offset, length));
    expect_data(cookie_, offset, length);
  }
}

TEST_P(TransmissionTest, AnswersABatchInOrder) {
  Message batch;
  for (std::uint64_t i = 0; i < 300; ++i) batch.raw(request(kCmdRead, 0, i, i * 7919, 4096));
  client_.send(batch);
  for (std::uint64_t i = 0; i < 300; ++i) expect_data(i, i * 7919, 4096);
}

TEST_P(TransmissionTest, AnswersABatchLargerThanItsBuffers) {
  Message batch;
  for (std::uint64_t i = 0; i < 6; ++i) batch.raw(request(kCmdRead, 0, i, i * 1001, 1 << 20));
  for (std::uint64_t i = 6; i < 20; ++i) batch.raw(request(kCmdRead, 0, i, i, 65536 - 28));
  client_.send(batch);
  for (std::uint64_t i = 0; i < 6; ++i) expect_data(i, i * 1001, 1 << 20);
  for (std::uint64_t i = 6; i < 20; ++i) expect_data(i, i, 65536 - 28);
}

TEST_P(TransmissionTest, TellsTheDeviceOfABatchBeforeReading) {
  client_.send(Message()
                   .raw(request(kCmdRead, 0, 1, 0, 4096))
                   .raw(request(kCmdRead, 0, 2, 40960, 4096))
                   .raw(request(kCmdRead, 0, 3, 45056, 4096))
                   .raw(request(kCmdWrite, 0, 4, 0, 4, engine::as_bytes("abcd")))
                   .raw(request(kCmdRead, 0, 5, 1 << 20, 512)));
  device_->wait_for("read", 4);
  using Event = ScriptedDevice::Event;
  EXPECT_EQ((std::vector<Event>{{"prefetch", 40960, 8192},
                                {"prefetch", 1 << 20, 512},
                                {"read", 0, 4096},
                                {"read", 40960, 4096},
                                {"read", 45056, 4096},
                                {"write", 0, 4},
                                {"read", 1 << 20, 512}}),
            device_->events());
}

TEST_P(TransmissionTest, ReadsOutsideTheExport) {
  for (const auto& [offset, length] :
       std::vector<std::pair<std::uint64_t, std::uint32_t>>{{kSize, 1},
                                                            {kSize - 1, 2},
                                                            {UINT64_MAX, 1},
                                                            {UINT64_MAX, 2},
                                                            {0, 0xffffffff},
                                                            {UINT64_MAX - 4096, 8192}}) {
    EXPECT_EQ(kEinval, result_of(kCmdRead, 0, offset, length)) << offset << "+" << length;
  }
  client_.expect_alive(structured());
}

TEST_P(TransmissionTest, EmptyRequestsSucceed) {
  EXPECT_EQ(0U, result_of(kCmdRead, 0, 5, 0));
  EXPECT_EQ(0U, result_of(kCmdWrite, 0, kSize, 0));
  EXPECT_EQ(0U, result_of(kCmdWriteZeroes, 0, 5, 0));
  EXPECT_EQ(0U, result_of(kCmdTrim, 0, 5, 0));
  EXPECT_EQ(0U, result_of(kCmdCache, 0, 5, 0));
  client_.expect_alive(structured());
}

TEST_P(TransmissionTest, FailedReadSendsNothingOfItsBuffer) {
  device_->fail_reads(100'000, IoCode::kFailed);
  client_.send(Message()
                   .raw(request(kCmdRead, 0, 1, 0, 4096))
                   .raw(request(kCmdRead, 0, 2, 98304, 4096))
                   .raw(request(kCmdRead, 0, 3, 4096, 4096)));
  expect_data(1, 0, 4096);
  if (structured()) {
    const Chunk chunk = client_.chunk();
    EXPECT_EQ(kReplyErrorOffset, chunk.type);
    EXPECT_EQ(kEio, chunk.error());
    EXPECT_EQ(98304U, chunk.error_offset());
    EXPECT_LT(chunk.payload.size(), 200U);
  } else {
    EXPECT_EQ(kEio, client_.simple_reply().error);
  }
  expect_data(3, 4096, 4096);
}

TEST_P(TransmissionTest, WritesAnyRange) {
  ByteVector expected = device_->bytes();
  std::size_t seed = 1;
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {0, 1}, {511, 2}, {4097, 1 << 20}, {kSize - 3, 3}, {99, 300'000}}) {
    const ByteVector data = pattern(seed += 77, length);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    EXPECT_EQ(0U, result_of(kCmdWrite, 0, offset, length, data));
  }
  EXPECT_EQ(expected, device_->bytes());
  EXPECT_EQ(0U, device_->count("flush"));
}

TEST_P(TransmissionTest, PipelinedWritesStayInStep) {
  ByteVector expected = device_->bytes();
  Message batch;
  std::uint64_t offset = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    const ByteVector data = pattern(i * 1000 + 3, 1 + i * 4211 % 150'000);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    batch.raw(request(kCmdWrite, 0, i, offset, static_cast<std::uint32_t>(data.size()), data));
    offset += data.size();
    if (offset > kSize - 200'000) offset = 0;
  }
  client_.send(batch);
  for (std::uint64_t i = 0; i < 40; ++i) {
    const SimpleReply reply = client_.simple_reply();
    EXPECT_EQ(i, reply.cookie);
    EXPECT_EQ(0U, reply.error);
  }
  EXPECT_EQ(expected, device_->bytes());
}

TEST_P(TransmissionTest, WriteErrors) {
  const ByteVector data(4096);
  device_->seal(kSize - 8192, 8192);
  EXPECT_EQ(kEnospc, result_of(kCmdWrite, 0, kSize - 1, 4096, data));
  EXPECT_EQ(kEnospc, result_of(kCmdWrite, 0, UINT64_MAX, 4096, data));
  EXPECT_EQ(kEnospc, result_of(kCmdWriteZeroes, 0, kSize, 1));
  EXPECT_EQ(kEinval, result_of(kCmdTrim, 0, kSize, 1)) << "as a read beyond the end";
  EXPECT_EQ(kEperm, result_of(kCmdWrite, 0, kSize - 8193, 4096, data));
  EXPECT_EQ(kEperm, result_of(kCmdWriteZeroes, 0, kSize - 8193, 4096));
  EXPECT_EQ(pattern(0, kSize), device_->bytes());
  client_.expect_alive(structured());
}

TEST_P(TransmissionTest, FuaFlushesBeforeTheAnswer) {
  const ByteVector data(512);
  EXPECT_EQ(0U, result_of(kCmdWrite, kCmdFlagFua, 0, 512, data));
  EXPECT_EQ(1U, device_->count("flush"));
  EXPECT_EQ(0U, result_of(kCmdWriteZeroes, kCmdFlagFua, 0, 512));
  EXPECT_EQ(2U, device_->count("flush"));
  EXPECT_EQ(0U, result_of(kCmdTrim, kCmdFlagFua, 0, 512));
  EXPECT_EQ(3U, device_->count("flush"));
  EXPECT_EQ(0U, result_of(kCmdFlush, 0, 0, 0));
  EXPECT_EQ(4U, device_->count("flush"));
  // "existing clients are known to set this bit on other commands"
  EXPECT_EQ(0U, result_of(kCmdCache, kCmdFlagFua, 0, 512));
  EXPECT_EQ(4U, device_->count("flush"));
  device_->fail_flushes(IoCode::kFailed);
  EXPECT_EQ(kEio, result_of(kCmdFlush, 0, 0, 0));
  EXPECT_EQ(kEio, result_of(kCmdWrite, kCmdFlagFua, 0, 512, data));
  EXPECT_EQ(kEio, result_of(kCmdTrim, kCmdFlagFua, 0, 512));
  EXPECT_EQ(0U, result_of(kCmdWrite, 0, 0, 512, data));
}

TEST_P(TransmissionTest, WriteZeroes) {
  EXPECT_EQ(0U, result_of(kCmdWriteZeroes, 0, 1001, 5'000'000));
  EXPECT_EQ(0U, result_of(kCmdWriteZeroes, kCmdFlagNoHole, 0, 10));
  EXPECT_EQ(kEnotsup, result_of(kCmdWriteZeroes, kCmdFlagFastZero, 0, 1000));
  EXPECT_EQ(1U, device_->count("zero no hole"));
  ByteVector expected = pattern(0, kSize);
  std::fill_n(expected.begin() + 1001, 5'000'000, std::byte{0});
  std::fill_n(expected.begin(), 10, std::byte{0});
  EXPECT_EQ(expected, device_->bytes());
}

TEST_P(TransmissionTest, TrimAndCacheReachTheDevice) {
  EXPECT_EQ(0U, result_of(kCmdTrim, 0, 100, 7'000'000));
  EXPECT_EQ(0U, result_of(kCmdCache, 0, 200, 7'000'000));
  EXPECT_EQ(kEinval, result_of(kCmdCache, 0, kSize, 1));
  using Event = ScriptedDevice::Event;
  EXPECT_EQ((std::vector<Event>{{"discard", 100, 7'000'000}, {"prefetch", 200, 7'000'000}}),
            device_->events());
}

TEST_P(TransmissionTest, UnknownCommandsAndFlags) {
  EXPECT_EQ(kEinval, result_of(8, 0, 0, 512));
  EXPECT_EQ(kEinval, result_of(0xffff, 0, 0, 512));
  EXPECT_EQ(kEinval, result_of(kCmdRead, 1 << 5, 0, 512));
  EXPECT_EQ(kEinval, result_of(kCmdRead, kCmdFlagNoHole, 0, 512));
  if (!structured()) {
    EXPECT_EQ(kEinval, result_of(kCmdRead, kCmdFlagDf, 0, 512));
  }
  EXPECT_EQ(kEinval, result_of(kCmdWrite, kCmdFlagNoHole, 0, 512, ByteVector(512)));
  EXPECT_EQ(kEinval, result_of(kCmdWrite, kCmdFlagReqOne, 0, 512, ByteVector(512)));
  EXPECT_EQ(kEinval, result_of(kCmdWriteZeroes, kCmdFlagDf, 0, 512));
  EXPECT_EQ(kEinval, result_of(kCmdTrim, kCmdFlagFastZero, 0, 512));
  EXPECT_EQ(kEinval, result_of(kCmdFlush, kCmdFlagNoHole, 0, 0));
  EXPECT_EQ(kEinval, result_of(kCmdFlush, 0, 1, 0));
  EXPECT_EQ(kEinval, result_of(kCmdFlush, 0, 0, 1));
  EXPECT_EQ(kEinval, result_of(kCmdCache, kCmdFlagDf, 0, 512));
  EXPECT_EQ(pattern(0, kSize), device_->bytes());
  client_.expect_alive(structured());
}

TEST_P(TransmissionTest, WrongMagicClosesAfterWhatCameBefore) {
  ByteVector bad = request(kCmdRead, 0, 2, 0, 512);
  bad[0] ^= std::byte{1};
  client_.send(Message().raw(request(kCmdRead, 0, 1, 512, 100)).raw(bad).raw(bad));
  expect_data(1, 512, 100);
  EXPECT_TRUE(client_.closed());
}

TEST_P(TransmissionTest, DisconnectAnswersWhatCameBefore) {
  client_.send(Message()
                   .raw(request(kCmdRead, 0, 1, 512, 100))
                   .raw(request(kCmdDisconnect, 0, 2, 0, 0))
                   .raw(request(kCmdWrite, 0, 3, 0, 3, engine::as_bytes("abc"))));
  expect_data(1, 512, 100);
  EXPECT_TRUE(client_.closed());
  EXPECT_EQ(0U, device_->count("write"));
}

TEST_P(TransmissionTest, HalfARequestThenGone) {
  const ByteVector whole = request(kCmdWrite, 0, 1, 0, 65536, pattern(9, 65536));
  for (const std::size_t sent :
       {std::size_t{1}, std::size_t{27}, std::size_t{28}, std::size_t{500}, whole.size() - 1}) {
    RawClient client(server_.socket_path());
    client.connect(structured());
    client.send(engine::Bytes(whole).first(sent));
    ASSERT_EQ(0, ::shutdown(client.fd(), SHUT_WR));
    EXPECT_TRUE(client.closed()) << sent;
  }
  EXPECT_EQ(0U, device_->count("write"));  // a request that did not arrive was not begun
  client_.expect_alive(structured());
}

TEST_P(TransmissionTest, BlockStatusNeedsItsContext) {
  RawClient client(server_.socket_path());
  client.connect(structured());
  client.send(request(kCmdBlockStatus, 0, 1, 0, 512));
  if (structured()) {
    const Chunk chunk = client.chunk();
    EXPECT_EQ(kReplyError, chunk.type);
    EXPECT_EQ(kEinval, chunk.error());
  } else {
    EXPECT_EQ(kEinval, client.simple_reply().error);
  }
}

TEST_P(ReadOnlyTransmissionTest, RefusesEveryWritingCommand) {
  EXPECT_EQ(kEperm, result_of(kCmdWrite, 0, 0, 4096, ByteVector(4096)));
  EXPECT_EQ(kEperm, result_of(kCmdWrite, 0, kSize, 4096, ByteVector(4096)));
  EXPECT_EQ(kEperm, result_of(kCmdTrim, 0, 0, 4096));
  EXPECT_EQ(kEperm, result_of(kCmdWriteZeroes, 0, 0, 4096));
  EXPECT_EQ(0U, result_of(kCmdFlush, 0, 0, 0));
  EXPECT_EQ(0U, device_->count("write"));
  client_.send(request(kCmdRead, 0, ++cookie_, 10, 512));
  expect_data(cookie_, 10, 512);
}

TEST_P(NoTrimTransmissionTest, TrimThatWasNotOffered) {
  EXPECT_EQ(kEinval, result_of(kCmdTrim, 0, 0, 4096));
  EXPECT_EQ(0U, device_->count("discard"));
}

std::string mode_name(const ::testing::TestParamInfo<bool>& mode) {
  return mode.param ? "Structured" : "Simple";
}
INSTANTIATE_TEST_SUITE_P(Replies, TransmissionTest, ::testing::Bool(), mode_name);
INSTANTIATE_TEST_SUITE_P(Replies, ReadOnlyTransmissionTest, ::testing::Bool(), mode_name);
INSTANTIATE_TEST_SUITE_P(Replies, NoTrimTransmissionTest, ::testing::Bool(), mode_name);

class BlockStatusTest : public ::testing::Test {
 protected:
  BlockStatusTest() { client_.connect(true, true); }

  using Descriptors = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  Descriptors ask(std::uint16_t flags, std::uint64_t offset, std::uint32_t length) {
    client_.send(request(kCmdBlockStatus, flags, 42, offset, length));
    const Chunk chunk = client_.chunk();
    EXPECT_EQ(kReplyBlockStatus, chunk.type);
    EXPECT_TRUE(chunk.done());
    EXPECT_EQ(kBaseAllocationId, engine::load_be<std::uint32_t>(chunk.payload, 0));
    Descriptors out;
    for (std::size_t at = 4; at + 8 <= chunk.payload.size(); at += 8) {
      out.emplace_back(engine::load_be<std::uint32_t>(chunk.payload, at),
                       engine::load_be<std::uint32_t>(chunk.payload, at + 4));
    }
    return out;
  }

  std::shared_ptr<ScriptedDevice> device_ = std::make_shared<ScriptedDevice>(16 << 20, false);
  ServedExports server_{one_export(device_)};
  RawClient client_{server_.socket_path()};
};

TEST_F(BlockStatusTest, MergesNeighbours) {
  EXPECT_EQ((Descriptors{{16 << 20, 0}}), ask(0, 0, 16 << 20));
  device_->set_stripes(1 << 20);
  EXPECT_EQ((Descriptors{{1 << 20, 0}, {1 << 20, 3}, {5, 0}}), ask(0, 0, (2 << 20) + 5));
  EXPECT_EQ((Descriptors{{1, 0}, {1, 3}}), ask(0, (1 << 20) - 1, 2));
}

TEST_F(BlockStatusTest, OneExtentWhenAskedForOne) {
  device_->set_stripes(1 << 20);
  EXPECT_EQ((Descriptors{{(1 << 20) - 7, 3}}), ask(kCmdFlagReqOne, (1 << 20) + 7, 8 << 20));
}

TEST_F(BlockStatusTest, AnswersAreBounded) {
  device_->set_stripes(4096);
  const Descriptors all = ask(0, 0, 16 << 20);
  EXPECT_EQ(1024U, all.size());
  EXPECT_EQ((Descriptors::value_type{4096, 0}), all.front());
  EXPECT_EQ((Descriptors::value_type{4096, 3}), all.back());
  device_->set_stripes(UINT64_MAX);  // one endless stripe...
  EXPECT_EQ((Descriptors{{16 << 20, 0}}), ask(0, 0, 16 << 20));
  device_->set_stripes(1);  // ...and as many questions as bytes
  EXPECT_EQ(1024U, ask(0, 0, 16 << 20).size());
}

TEST_F(BlockStatusTest, RefusesWhatMakesNoSense) {
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {0, 0}, {16 << 20, 1}, {0, (16 << 20) + 1}, {UINT64_MAX, 5}}) {
    client_.send(request(kCmdBlockStatus, 0, 1, offset, length));
    const Chunk chunk = client_.chunk();
    EXPECT_EQ(kReplyError, chunk.type);
    EXPECT_EQ(kEinval, chunk.error());
  }
  client_.send(request(kCmdBlockStatus, kCmdFlagDf, 1, 0, 512));
  EXPECT_EQ(kEinval, client_.chunk().error());
}

}  // namespace
}  // namespace latchkey::frontends
