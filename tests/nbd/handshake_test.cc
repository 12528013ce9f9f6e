// Option haggling against a running server, with a client that may send anything.
#include "frontends/nbd/handshake.h"

#include <memory>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/nbd/raw_client.h"
#include "tests/nbd/scripted_device.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using namespace nbd;

constexpr std::uint64_t kSize = 1 << 20;

class HandshakeTest : public ::testing::Test {
 protected:
  static ExportList exports() {
    return {{{"disk", "the whole disk", std::make_shared<ScriptedDevice>(kSize, true, 65536)},
             {"p1", "", std::make_shared<ScriptedDevice>(kSize / 2, false)}},
            0};
  }
  static NbdOptions options() {
    NbdOptions options;
    options.allow_discard = true;
    return options;
  }

  ServedExports server_{exports(), options()};
  RawClient client_{server_.socket_path()};
};

TEST_F(HandshakeTest, ExportNameSendsSizeFlagsAndPadding) {
  client_.greet(kFlagFixedNewstyle);
  client_.option(kOptExportName, engine::as_bytes("p1"));
  const ByteVector answer = client_.receive(10 + 124);
  EXPECT_EQ(kSize / 2, engine::load_be<std::uint64_t>(answer, 0));
  EXPECT_EQ(kFlagHasFlags | kFlagReadOnly | kFlagSendFlush | kFlagCanMultiConn | kFlagSendCache,
            engine::load_be<std::uint16_t>(answer, 8));
  EXPECT_THAT(ByteVector(answer.begin() + 10, answer.end()), ::testing::Each(std::byte{0}));
  client_.expect_alive(false);
}

TEST_F(HandshakeTest, ExportNameWithoutPadding) {
  client_.greet();
  client_.option(kOptExportName);
  EXPECT_EQ(kSize, engine::load_be<std::uint64_t>(client_.receive(10), 0));
  client_.expect_alive(false);
}

TEST_F(HandshakeTest, ClientThatIsNotFixedNewstyle) {
  client_.greet(0);
  client_.option(kOptExportName);
  client_.receive(10 + 124);
  client_.expect_alive(false);
}

TEST_F(HandshakeTest, ExportNameOfNothingCloses) {
  client_.greet();
  client_.option(kOptExportName, engine::as_bytes("p9"));
  EXPECT_TRUE(client_.closed());
}

TEST_F(HandshakeTest, UnknownClientFlagCloses) {
  client_.greet(kFlagFixedNewstyle | 4);
  EXPECT_TRUE(client_.closed());
}

TEST_F(HandshakeTest, GoGivesWhatWasAskedFor) {
  client_.greet();
  const auto replies = client_.ask_all(
      kOptGo, RawClient::go_data("", {kInfoName, kInfoDescription, kInfoBlockSize, 77}));
  ASSERT_EQ(5U, replies.size());
  EXPECT_EQ(
      (Message()
           .u16(kInfoExport)
           .u64(kSize)
           .u16(kFlagHasFlags | kFlagSendFlush | kFlagSendFua | kFlagSendTrim |
                kFlagSendWriteZeroes | kFlagCanMultiConn | kFlagSendCache | kFlagSendFastZero))
          .bytes(),
      replies[0].data);
  EXPECT_EQ(Message().u16(kInfoName).text("disk").bytes(), replies[1].data);
  EXPECT_EQ(Message().u16(kInfoDescription).text("the whole disk").bytes(), replies[2].data);
  EXPECT_EQ(Message().u16(kInfoBlockSize).u32(1).u32(65536).u32(32 << 20).bytes(), replies[3].data);
  EXPECT_EQ(kRepAck, replies[4].type);
  client_.expect_alive(false);
}

TEST_F(HandshakeTest, InfoStaysInHaggling) {
  client_.greet();
  const auto replies =
      client_.ask_all(kOptInfo, RawClient::go_data("p1", {kInfoDescription, kInfoBlockSize}));
  ASSERT_EQ(3U, replies.size());  // p1 has no description
  EXPECT_EQ(Message().u16(kInfoBlockSize).u32(1).u32(4096).u32(32 << 20).bytes(), replies[1].data);
  EXPECT_EQ(kRepAck, client_.ask(kOptStructuredReply));
  const auto again = client_.ask_all(kOptInfo, RawClient::go_data("p1"));
  EXPECT_NE(0, engine::load_be<std::uint16_t>(again[0].data, 10) & kFlagSendDf);
  EXPECT_EQ(kRepAck, client_.ask(kOptAbort));
  EXPECT_TRUE(client_.closed());
}

TEST_F(HandshakeTest, TrimIsOfferedOnlyWhenAllowed) {
  ServedExports plain(exports());
  RawClient client(plain.socket_path());
  EXPECT_EQ(0, client.connect(false) & kFlagSendTrim);
  EXPECT_NE(0, client_.connect(false) & kFlagSendTrim);
}

TEST_F(HandshakeTest, UnknownExportIsRefusedAndTheTalkGoesOn) {
  client_.greet();
  client_.option(kOptGo, RawClient::go_data("nope\x1b"));
  const OptionReply refusal = client_.option_reply();
  EXPECT_EQ(kRepErrUnknown, refusal.type);
  EXPECT_EQ("no export 'nope?' here", refusal.text());
  EXPECT_EQ(kRepErrUnknown, client_.ask(kOptInfo, RawClient::go_data("nope")));
  EXPECT_EQ(kRepAck, client_.ask_all(kOptGo, RawClient::go_data("p1")).back().type);
  client_.expect_alive(false);
}

TEST_F(HandshakeTest, ListNamesEveryExport) {
  client_.greet();
  const auto replies = client_.ask_all(kOptList);
  ASSERT_EQ(3U, replies.size());
  EXPECT_EQ(kRepServer, replies[0].type);
  EXPECT_EQ(Message().string("disk").text("the whole disk").bytes(), replies[0].data);
  EXPECT_EQ(Message().string("p1").bytes(), replies[1].data);
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptList, engine::as_bytes("x")));
}

TEST_F(HandshakeTest, OptionsThatAreNotOffered) {
  client_.greet();
  EXPECT_EQ(kRepErrUnsupported, client_.ask(kOptStartTls));
  EXPECT_EQ(kRepErrUnsupported, client_.ask(4));
  EXPECT_EQ(kRepErrUnsupported, client_.ask(11));
  EXPECT_EQ(kRepErrUnsupported, client_.ask(0xffffffff, engine::as_bytes("whatever")));
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptStructuredReply, engine::as_bytes("x")));
  client_.option(kOptAbort);
  EXPECT_EQ(kRepAck, client_.option_reply().type);
}

TEST_F(HandshakeTest, MalformedExportRequests) {
  client_.greet();
  const ByteVector good = RawClient::go_data("disk", {kInfoName});
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_EQ(kRepErrInvalid, client_.ask(kOptGo, engine::Bytes(good).first(length))) << length;
  }
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptGo, Message().raw(good).u16(0)));
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptGo, Message().u32(0xffffffff).u16(0)));
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptGo, RawClient::go_data(std::string_view("di\0k", 4))));
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptGo, RawClient::go_data(std::string(4097, 'a'))));
  EXPECT_EQ(kRepErrUnknown, client_.ask(kOptGo, RawClient::go_data(std::string(4096, 'a'))));
  EXPECT_EQ(kRepAck, client_.ask_all(kOptGo, good).back().type);
}

TEST_F(HandshakeTest, LongOptionsAreSkippedAndVeryLongOnesClose) {
  client_.greet();
  EXPECT_EQ(kRepErrTooBig, client_.ask(kOptGo, ByteVector(kMaxOptionBytes + 1)));
  EXPECT_EQ(kRepErrTooBig, client_.ask(12345, ByteVector(kMaxSkippedOptionBytes)));
  EXPECT_EQ(kRepErrUnsupported, client_.ask(12345, ByteVector(kMaxOptionBytes)));
  client_.send(Message().u64(kOptionMagic).u32(kOptGo).u32(kMaxSkippedOptionBytes + 1));
  EXPECT_TRUE(client_.closed());
}

TEST_F(HandshakeTest, WrongOptionMagicCloses) {
  client_.greet();
  client_.send(Message().u64(kOptionMagic ^ 1).u32(kOptList).u32(0));
  EXPECT_TRUE(client_.closed());
}

TEST_F(HandshakeTest, MetadataContextsNeedStructuredReplies) {
  client_.greet();
  const ByteVector all = RawClient::context_data("", {});
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptListMetaContext, all));
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptSetMetaContext, all));
}

TEST_F(HandshakeTest, ListMetadataContexts) {
  client_.greet();
  client_.ask(kOptStructuredReply);
  const auto count = [&](const std::vector<std::string>& queries) {
    return client_.ask_all(kOptListMetaContext, RawClient::context_data("p1", queries)).size() - 1;
  };
  EXPECT_EQ(1U, count({}));
  EXPECT_EQ(1U, count({"base:"}));
  EXPECT_EQ(1U, count({"base:allocation"}));
  EXPECT_EQ(1U, count({"qemu:", "base:allocation", "base:"}));
  EXPECT_EQ(0U, count({"qemu:"}));
  EXPECT_EQ(0U, count({"base:alloc"}));
  EXPECT_EQ(0U, count({""}));
  const auto replies = client_.ask_all(kOptListMetaContext, RawClient::context_data("", {}));
  EXPECT_EQ(Message().u32(0).text("base:allocation").bytes(), replies[0].data);
}

TEST_F(HandshakeTest, SetMetadataContexts) {
  client_.greet();
  client_.ask(kOptStructuredReply);
  const auto set = [&](std::string_view name, const std::vector<std::string>& queries) {
    return client_.ask_all(kOptSetMetaContext, RawClient::context_data(name, queries));
  };
  EXPECT_EQ(1U, set("", {}).size());
  EXPECT_EQ(1U, set("", {"base:"}).size());  // a wildcard selects nothing
  EXPECT_EQ(kRepErrUnknown, set("p9", {"base:allocation"}).back().type);
  const auto replies = set("", {"base:allocation", "base:allocation"});
  ASSERT_EQ(2U, replies.size());
  EXPECT_EQ(kRepMetaContext, replies[0].type);
  EXPECT_NE(0U, engine::load_be<std::uint32_t>(replies[0].data, 0));
}

TEST_F(HandshakeTest, MalformedMetadataContexts) {
  client_.greet();
  client_.ask(kOptStructuredReply);
  const ByteVector good = RawClient::context_data("disk", {"base:allocation"});
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_EQ(kRepErrInvalid, client_.ask(kOptSetMetaContext, engine::Bytes(good).first(length)))
        << length;
  }
  EXPECT_EQ(kRepErrInvalid, client_.ask(kOptSetMetaContext, Message().raw(good).u16(0)));
  EXPECT_EQ(kRepErrTooBig, client_.ask(kOptSetMetaContext, Message().u32(0).u32(0xffffffff)));
}

// Contexts hold for the export they were selected for, and only until the next selection.
TEST_F(HandshakeTest, ContextsBelongToOneExport) {
  struct Case {
    std::vector<std::pair<std::string, std::string>> selections;  // export, query
    std::string chosen;
    bool block_status;
  };
  const std::vector<Case> cases{
      {{{"disk", "base:allocation"}}, "", true},
      {{{"", "base:allocation"}}, "disk", true},
      {{{"disk", "base:allocation"}}, "p1", false},
      {{{"p1", "base:allocation"}, {"disk", "base:allocation"}}, "p1", false},
      {{{"disk", "base:allocation"}, {"disk", "qemu:x"}}, "disk", false},
      {{{"disk", "base:allocation"}, {"p9", "base:allocation"}}, "disk", false},
  };
  for (const Case& each : cases) {
    RawClient client(server_.socket_path());
    client.greet();
    client.ask(kOptStructuredReply);
    for (const auto& [name, query] : each.selections) {
      client.ask_all(kOptSetMetaContext, RawClient::context_data(name, {query}));
    }
    client.ask_all(kOptGo, RawClient::go_data(each.chosen));
    client.send(request(kCmdBlockStatus, 0, 1, 0, 512));
    EXPECT_EQ(each.block_status ? kReplyBlockStatus : kReplyError, client.chunk().type)
        << each.chosen;
  }
}

TEST_F(HandshakeTest, GarbageEndsOnlyItsOwnConnection) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  client_.greet();
  for (int round = 0; round < 200; ++round) {
    RawClient garbler(server_.socket_path());
    Message message;
    if (round % 2 == 1) message.u32(3).u64(kOptionMagic);  // half of them get past the greeting
    const std::size_t count = random() % 300;
    for (std::size_t i = 0; i < count; ++i) {
      message.raw(ByteVector{static_cast<std::byte>(random() % 3 == 0 ? random() : 0)});
    }
    garbler.send(message);
  }
  EXPECT_EQ(3U, client_.ask_all(kOptList).size());
}

}  // namespace
}  // namespace latchkey::frontends
