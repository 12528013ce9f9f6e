// The server around the protocol: how many clients, for how long, and how it stops.
#include "frontends/nbd/server.h"

#include <chrono>
#include <filesystem>
#include <list>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "tests/nbd/raw_client.h"
#include "tests/nbd/scripted_device.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using namespace nbd;
using namespace std::chrono_literals;

constexpr std::uint64_t kSize = 8 << 20;

std::shared_ptr<ScriptedDevice> device(bool writable = true) {
  return std::make_shared<ScriptedDevice>(kSize, writable);
}

TEST(NbdServer, SeventeenthClientIsClosedAtOnce) {
  NbdOptions options;
  options.full_wait = 0ms;
  ServedExports server(one_export(device()), options);
  std::list<RawClient> clients;
  for (int i = 0; i < 16; ++i) clients.emplace_back(server.socket_path()).connect(true);
  RawClient one_too_many(server.socket_path());
  EXPECT_TRUE(one_too_many.closed());
  for (RawClient& client : clients) client.expect_alive(true);
}

TEST(NbdServer, PlaceIsFreeAgainAfterADisconnect) {
  NbdOptions options;
  options.max_connections = 1;
  options.full_wait = 60s;  // the new client may be accepted before the old one's thread has ended
  ServedExports server(one_export(device()), options);
  for (int i = 0; i < 50; ++i) {
    RawClient client(server.socket_path());
    client.connect(true);
    client.send(request(kCmdDisconnect, 0, 0, 0, 0));
  }
}

TEST(NbdServer, HandshakeMustFinishInTime) {
  NbdOptions options;
  options.handshake_timeout = 1500ms;  // time enough for `working` on a busy machine
  ServedExports server(one_export(device()), options);
  RawClient working(server.socket_path());
  working.connect(true);
  RawClient silent(server.socket_path());
  RawClient slow(server.socket_path());
  slow.greet();
  slow.send(Message().u64(kOptionMagic).u32(kOptGo));  // and never its length
  EXPECT_EQ(18U, silent.receive_up_to(19).size());
  EXPECT_TRUE(slow.closed());
  working.expect_alive(true);  // whose handshake began before theirs
}

TEST(NbdServer, StopEndsIdleClientsAndRemovesTheSocket) {
  const auto disk = device();
  ServedExports server(one_export(disk));
  RawClient client(server.socket_path());
  client.connect(true);
  RawClient haggling(server.socket_path());
  haggling.greet();
  EXPECT_EQ(kRepAck, haggling.ask_all(kOptList).back().type);
  EXPECT_TRUE(server.stop().ok());
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(haggling.closed());
  EXPECT_FALSE(std::filesystem::exists(server.socket_path()));
  EXPECT_EQ(1U, disk->count("flush"));
}

TEST(NbdServer, StopDoesNotFlushWhatCannotBeWritten) {
  const auto disk = device(false);
  ServedExports server(one_export(disk));
  EXPECT_TRUE(server.stop().ok());
  EXPECT_EQ(0U, disk->count("flush"));
}

TEST(NbdServer, FailedLastFlushIsTheResult) {
  const auto disk = device();
  disk->fail_flushes(engine::IoCode::kFailed);
  ServedExports server(one_export(disk));
  const auto result = server.stop();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ("export 'disk': the last flush failed: input/output error", result.error().message());
  EXPECT_FALSE(std::filesystem::exists(server.socket_path()));
}

// What had arrived when the stop came is answered, though the first of it was still being served.
TEST(NbdServer, StopWhileBusyFinishesWhatItAccepted) {
  const auto disk = device();
  ServedExports server(one_export(disk));
  RawClient client(server.socket_path());
  client.connect(true);
  disk->close_gate();
  Message batch;
  for (std::uint64_t i = 0; i < 8; ++i) batch.raw(request(kCmdRead, 0, i, i * 512, 512));
  client.send(batch);
  disk->wait_for("read", 1);
  const ByteVector data(100'000, std::byte{0x5a});
  client.send(request(kCmdWrite, 0, 8, 0, 100'000, data));  // waits in the socket
  server.ask_to_stop();
  // The path goes first of all: once it is gone the stop is under way.
  while (std::filesystem::exists(server.socket_path())) std::this_thread::yield();
  disk->open_gate();
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(i, client.chunk().cookie);
  const SimpleReply written = client.simple_reply();
  EXPECT_EQ(8U, written.cookie);
  EXPECT_EQ(0U, written.error);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(server.stop().ok());
  EXPECT_EQ(std::byte{0x5a}, disk->bytes()[99'999]);
  EXPECT_EQ("flush", disk->events().back().what);
}

// The same over TCP, where a socket that is shut down for reading still takes what arrives, and one
// closed with unread input takes answers under way with it.
TEST(NbdServer, StopOverTcpLosesNoAnswer) {
  const auto disk = device();
  NbdOptions options;
  options.place = NbdTcpPlace{"127.0.0.1", 0};
  ServedExports server(one_export(disk), options, true);
  const auto place = parse_tcp_place(server.uri().substr(std::string("nbd://").size()));
  ASSERT_TRUE(place.ok());
  RawClient client(place->port);
  client.connect(true);
  disk->close_gate();
  Message batch;
  for (std::uint64_t i = 0; i < 8; ++i) batch.raw(request(kCmdRead, 0, i, i * 512, 100'000));
  client.send(batch);
  disk->wait_for("read", 1);
  server.ask_to_stop();
  server.wait_until_refused(place->port);  // the stop is under way
  client.send(request(kCmdWrite, 0, 8, 0, 3000, ByteVector(3000)));
  disk->open_gate();
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(i, client.chunk().cookie);
  EXPECT_TRUE(server.stop().ok());
}

TEST(NbdServer, ClientThatDoesNotReadCannotHoldAStop) {
  NbdOptions options;
  options.stop_timeout = 200ms;
  const auto disk = device();
  ServedExports server(one_export(disk), options);
  RawClient client(server.socket_path());
  client.connect(true);
  Message batch;
  for (std::uint64_t i = 0; i < 64; ++i) batch.raw(request(kCmdRead, 0, i, 0, kSize));
  client.send(batch);
  disk->wait_for("read", 2);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(server.stop().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - before, 20s);  // the client would wait for ever
}

TEST(NbdServer, StopWithHalfARequestThere) {
  ServedExports server(one_export(device()));
  RawClient client(server.socket_path());
  client.connect(false);
  const ByteVector data(1000);
  client.send(engine::Bytes(request(kCmdWrite, 0, 1, 0, 1000, data)).first(900));
  RawClient streaming(server.socket_path());
  streaming.connect(false);
  streaming.send(request(kCmdWrite, 0, 1, 0, 4 << 20, data));
  EXPECT_TRUE(server.stop().ok());
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(streaming.closed());
}

TEST(NbdServer, ServerThatNeverRanRemovesItsSocket) {
  const ScratchFolder folder;
  {
    const auto server =
        NbdServer::listen({.place = NbdUnixPlace{folder.file("s")}}, one_export(device()));
    ASSERT_TRUE(server.ok());
    EXPECT_TRUE(std::filesystem::exists(folder.file("s")));
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("s")));
}

TEST(NbdServer, ManyClientsComeAndGo) {
  const auto disk = device();
  ServedExports server(one_export(disk));
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 6; ++t) {
    threads.emplace_back([&server, t] {
      for (unsigned i = 0; i < 20; ++i) {
        RawClient client(server.socket_path());
        client.connect((t + i) % 2 == 0);
        client.expect_alive((t + i) % 2 == 0);
        if (i % 3 == 0) client.send(request(kCmdDisconnect, 0, 0, 0, 0));
        if (i % 3 == 1) client.send(ByteVector(13));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server.stop().ok());
}

}  // namespace
}  // namespace latchkey::frontends
