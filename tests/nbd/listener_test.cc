// Where the server listens: paths, addresses, permissions, names, and every way to be refused.
#include "frontends/nbd/listener.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/nbd/served_exports.h"

namespace latchkey::frontends::nbd {
namespace {

using engine::ErrorCode;
using ::testing::HasSubstr;

engine::Result<Listener> unix_listener(const std::string& path) {
  NbdOptions options;
  options.place = NbdUnixPlace{path};
  return Listener::open(options);
}

engine::Result<Listener> tcp_listener(const std::string& host, std::uint16_t port = 0,
                                      bool allow_remote = false) {
  NbdOptions options;
  options.place = NbdTcpPlace{host, port};
  options.allow_remote = allow_remote;
  return Listener::open(options);
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(0, ::lstat(path.c_str(), &info));
  return info.st_mode & 07777;
}

TEST(Listener, UnixSocketIsForItsOwnerOnly) {
  const ScratchFolder folder;
  const mode_t before = ::umask(0);
  auto listener = unix_listener(folder.file("s"));
  ::umask(before);
  ASSERT_TRUE(listener.ok()) << listener.error().message();
  EXPECT_EQ(0600U, mode_of(folder.file("s")));
  listener->close();
  EXPECT_FALSE(std::filesystem::exists(folder.file("s")));
}

TEST(Listener, RemovesOnlyItsOwnSocket) {
  const ScratchFolder folder;
  auto listener = unix_listener(folder.file("s"));
  ASSERT_TRUE(listener.ok());
  std::filesystem::rename(folder.file("s"), folder.file("moved"));
  std::ofstream(folder.file("s")) << "someone else's";
  listener->close();
  EXPECT_TRUE(std::filesystem::exists(folder.file("s")));
}

TEST(Listener, SocketInUse) {
  const ScratchFolder folder;
  const auto first = unix_listener(folder.file("s"));
  ASSERT_TRUE(first.ok());
  const auto second = unix_listener(folder.file("s"));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ("socket " + folder.file("s") + " exists", second.error().message());
  EXPECT_THAT(second.error().hint(), HasSubstr("a server is listening on it"));
}

TEST(Listener, StaleSocketIsNotDeletedUnasked) {
  const ScratchFolder folder;
  ASSERT_TRUE(unix_listener(folder.file("s")).ok());  // closed, and left behind
  const auto second = unix_listener(folder.file("s"));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ("socket " + folder.file("s") + " exists", second.error().message());
  EXPECT_THAT(second.error().hint(), HasSubstr("no server listens on it"));
  EXPECT_TRUE(std::filesystem::exists(folder.file("s")));
}

TEST(Listener, FileInTheWay) {
  const ScratchFolder folder;
  std::ofstream(folder.file("s")) << "text";
  const auto listener = unix_listener(folder.file("s"));
  ASSERT_FALSE(listener.ok());
  EXPECT_THAT(listener.error().hint(), HasSubstr("not a socket"));
}

TEST(Listener, PathsThatCannotBe) {
  const ScratchFolder folder;
  const auto missing = unix_listener(folder.file("no/such/folder"));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(ENOENT, missing.error().sys_errno());
  const auto long_one = unix_listener("/tmp/" + std::string(200, 'x'));
  ASSERT_FALSE(long_one.ok());
  EXPECT_EQ("socket path is 205 bytes long, the system takes at most 107",
            long_one.error().message());
  EXPECT_EQ(ErrorCode::kUsage, long_one.error().code());
  EXPECT_FALSE(unix_listener("").ok());
}

TEST(Listener, UnixUri) {
  const ScratchFolder folder;
  const auto listener = unix_listener(folder.file("a b&c?%.sock"));
  ASSERT_TRUE(listener.ok());
  const std::string tail = "/a%20b%26c%3F%25.sock";
  EXPECT_THAT(listener->uri(""), ::testing::StartsWith("nbd+unix:///?socket=/"));
  EXPECT_THAT(listener->uri(""), ::testing::EndsWith(tail));
  EXPECT_THAT(listener->uri("p 1/x"), ::testing::StartsWith("nbd+unix:///p%201%2Fx?socket=/"));
}

TEST(Listener, RelativePathIsAbsoluteInTheUri) {
  const ScratchFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.file("."));
  auto listener = unix_listener("rel.sock");
  std::filesystem::current_path(before);
  ASSERT_TRUE(listener.ok());
  EXPECT_THAT(listener->uri(""), ::testing::MatchesRegex(".*socket=/.*/rel\\.sock"));
  listener->close();
  EXPECT_FALSE(std::filesystem::exists(folder.file("rel.sock")));
}

TEST(Listener, LoopbackNamesAndAddresses) {
  const auto v4 = tcp_listener("127.0.0.1");
  ASSERT_TRUE(v4.ok()) << v4.error().message();
  EXPECT_THAT(v4->uri(""), ::testing::MatchesRegex("nbd://127\\.0\\.0\\.1:[0-9]+"));
  EXPECT_THAT(v4->uri("p1"), ::testing::MatchesRegex("nbd://127\\.0\\.0\\.1:[0-9]+/p1"));
  EXPECT_TRUE(tcp_listener("localhost").ok());
  EXPECT_TRUE(tcp_listener("127.1.2.3").ok());
}

TEST(Listener, Ipv6Loopback) {
  const auto v6 = tcp_listener("::1");
  if (!v6.ok() &&
      (v6.error().sys_errno() == EADDRNOTAVAIL || v6.error().sys_errno() == EAFNOSUPPORT)) {
    GTEST_SKIP() << "no ipv6 here: " << v6.error().message();
  }
  ASSERT_TRUE(v6.ok()) << v6.error().message();
  EXPECT_THAT(v6->uri(""), ::testing::MatchesRegex("nbd://\\[::1\\]:[0-9]+"));
}

TEST(Listener, BeyondLoopbackNeedsToBeAllowed) {
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"}) {
    const auto refused = tcp_listener(host);
    ASSERT_FALSE(refused.ok()) << host;
    EXPECT_EQ(ErrorCode::kUsage, refused.error().code()) << host;
    EXPECT_THAT(refused.error().hint(), HasSubstr("--insecure"));
  }
  EXPECT_TRUE(tcp_listener("0.0.0.0", 0, true).ok());
}

TEST(Listener, PortInUseAndHostUnknown) {
  const auto first = tcp_listener("127.0.0.1");
  ASSERT_TRUE(first.ok());
  const std::string uri = first->uri("");
  const auto place = parse_tcp_place(uri.substr(uri.find("//") + 2));
  ASSERT_TRUE(place.ok());
  const auto second = tcp_listener(place->host, place->port);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(EADDRINUSE, second.error().sys_errno());
  EXPECT_THAT(second.error().hint(), HasSubstr("another program"));
  EXPECT_FALSE(tcp_listener("no.such.host.invalid").ok());
}

TEST(ParseTcpPlace, TakesHostAndPort) {
  const auto place = parse_tcp_place("localhost:10809");
  ASSERT_TRUE(place.ok());
  EXPECT_EQ("localhost", place->host);
  EXPECT_EQ(10809, place->port);
  EXPECT_EQ("::1", parse_tcp_place("[::1]:0")->host);
}

TEST(ParseTcpPlace, RefusesTheRest) {
  for (const char* text : {"", ":", "host", "host:", ":10809", "host:x", "host:1x", "host:65536",
                           "host:-1", "::1:10809", "[]:1", "1 2 3"}) {
    const auto place = parse_tcp_place(text);
    ASSERT_FALSE(place.ok()) << text;
    EXPECT_EQ(ErrorCode::kUsage, place.error().code());
    EXPECT_THAT(place.error().hint(), HasSubstr("HOST:PORT"));
  }
}

}  // namespace
}  // namespace latchkey::frontends::nbd
