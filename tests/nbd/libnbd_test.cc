// A real client library against the server: what it sees, and many requests from many sides.
#include <array>
#include <cerrno>
#include <memory>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libnbd.h>

#include "tests/nbd/scripted_device.h"
#include "tests/nbd/served_exports.h"

namespace latchkey::frontends {
namespace {

using ByteVector = std::vector<std::byte>;
constexpr std::uint64_t kSize = 24 << 20;

// A libnbd handle; every call that fails says why.
class Client {
 public:
  explicit Client(const std::string& uri, bool structured = true) : handle_(::nbd_create()) {
    EXPECT_EQ(0, ::nbd_set_request_structured_replies(handle_, structured));
    EXPECT_EQ(0, ::nbd_add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION));
    EXPECT_EQ(0, ::nbd_connect_uri(handle_, uri.c_str())) << ::nbd_get_error();
  }
  ~Client() {
    EXPECT_EQ(0, ::nbd_shutdown(handle_, 0)) << ::nbd_get_error();
    ::nbd_close(handle_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  operator ::nbd_handle*() const { return handle_; }  // NOLINT: it is the handle

 private:
  ::nbd_handle* handle_;
};

using Extents = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Extents block_status(const Client& client, std::uint64_t offset, std::uint64_t length) {
  Extents extents;
  const auto collect = [](void* user, const char*, std::uint64_t, std::uint32_t* entries,
                          std::size_t count, int*) {
    for (std::size_t i = 0; i + 1 < count; i += 2) {
      static_cast<Extents*>(user)->emplace_back(entries[i], entries[i + 1]);
    }
    return 0;
  };
  ::nbd_extent_callback callback{};
  callback.callback = collect;
  callback.user_data = &extents;
  EXPECT_EQ(0, ::nbd_block_status(client, length, offset, callback, 0)) << ::nbd_get_error();
  return extents;
}

TEST(Libnbd, SeesWhatIsOffered) {
  NbdOptions options;
  options.allow_discard = true;
  ServedExports server(one_export(std::make_shared<ScriptedDevice>(kSize, true)), options);
  const Client client(server.uri());
  EXPECT_EQ(std::int64_t{kSize}, ::nbd_get_size(client));
  EXPECT_EQ(1, ::nbd_can_multi_conn(client));
  EXPECT_EQ(1, ::nbd_can_flush(client));
  EXPECT_EQ(1, ::nbd_can_fua(client));
  EXPECT_EQ(1, ::nbd_can_trim(client));
  EXPECT_EQ(1, ::nbd_can_zero(client));
  EXPECT_EQ(1, ::nbd_can_fast_zero(client));
  EXPECT_EQ(1, ::nbd_can_df(client));
  EXPECT_EQ(1, ::nbd_can_cache(client));
  EXPECT_EQ(0, ::nbd_is_read_only(client));
  EXPECT_EQ(1, ::nbd_can_meta_context(client, LIBNBD_CONTEXT_BASE_ALLOCATION));
  EXPECT_EQ(1, ::nbd_get_block_size(client, LIBNBD_SIZE_MINIMUM));
  EXPECT_EQ(4096, ::nbd_get_block_size(client, LIBNBD_SIZE_PREFERRED));
  EXPECT_EQ(32 << 20, ::nbd_get_block_size(client, LIBNBD_SIZE_MAXIMUM));
}

TEST(Libnbd, BlockStatusOfASparseDevice) {
  const auto device = std::make_shared<ScriptedDevice>(kSize, false);
  device->set_stripes(4 << 20);
  ServedExports server(one_export(device));
  const Client client(server.uri());
  const std::uint32_t hole = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;
  EXPECT_EQ((Extents{{4 << 20, 0},
                     {4 << 20, hole},
                     {4 << 20, 0},
                     {4 << 20, hole},
                     {4 << 20, 0},
                     {4 << 20, hole}}),
            block_status(client, 0, kSize));
}

// A volume whose header fills its whole partition.
TEST(Libnbd, ExportOfNoBytes) {
  for (const bool writable : {false, true}) {
    ServedExports server(one_export(std::make_shared<ScriptedDevice>(0, writable)));
    const Client client(server.uri());
    EXPECT_EQ(0, ::nbd_get_size(client));
    ASSERT_EQ(0, ::nbd_set_strict_mode(client, 0));
    std::array<char, 512> buffer{};
    EXPECT_EQ(0, ::nbd_pread(client, buffer.data(), 0, 0, 0)) << ::nbd_get_error();
    EXPECT_EQ(-1, ::nbd_pread(client, buffer.data(), buffer.size(), 0, 0));
    EXPECT_EQ(EINVAL, ::nbd_get_errno());
    EXPECT_EQ(-1, ::nbd_pwrite(client, buffer.data(), buffer.size(), 0, 0));
    EXPECT_EQ(writable ? ENOSPC : EPERM, ::nbd_get_errno());
    EXPECT_EQ(0, ::nbd_flush(client, 0)) << ::nbd_get_error();
  }
}

TEST(Libnbd, ExportsByName) {
  ServedExports server({{{"disk", "", std::make_shared<ScriptedDevice>(kSize, false)},
                         {"p1", "", std::make_shared<ScriptedDevice>(kSize / 2, false)}},
                        1});
  EXPECT_EQ(std::int64_t{kSize / 2}, ::nbd_get_size(Client(server.uri())));
  EXPECT_EQ(std::int64_t{kSize}, ::nbd_get_size(Client(server.uri("disk"))));
}

TEST(Libnbd, TcpOnLoopback) {
  NbdOptions options;
  options.place = NbdTcpPlace{"127.0.0.1", 0};
  ServedExports server(one_export(std::make_shared<ScriptedDevice>(kSize, false)), options, true);
  const Client client(server.uri());
  ByteVector data(3 << 20);
  ASSERT_EQ(0, ::nbd_pread(client, data.data(), data.size(), 99, 0)) << ::nbd_get_error();
  EXPECT_EQ(ScriptedDevice::pattern(99 + (2 << 20)), data[2 << 20]);
}

// Is what one connection wrote and flushed seen by another? CAN_MULTI_CONN says so.
TEST(Libnbd, ConnectionsSeeEachOthersWrites) {
  ServedExports server(one_export(std::make_shared<ScriptedDevice>(kSize, true)));
  const Client writer(server.uri());
  const Client reader(server.uri());
  for (std::uint64_t round = 0; round < 50; ++round) {
    const ByteVector out(70'000, static_cast<std::byte>(round));
    ASSERT_EQ(0, ::nbd_pwrite(writer, out.data(), out.size(), round * 1000, 0));
    ASSERT_EQ(0, ::nbd_flush(writer, 0));
    ByteVector in(out.size());
    ASSERT_EQ(0, ::nbd_pread(reader, in.data(), in.size(), round * 1000, 0));
    ASSERT_EQ(out, in);
  }
}

// One thread a connection, each on its own part of the device, every command at any alignment,
// against a plain array.
void work_on_part(const std::string& uri, unsigned seed, std::uint64_t begin, std::uint64_t length,
                  bool structured, std::span<std::byte> model) {
  std::mt19937_64 random(seed);
  const Client client(uri, structured);
  ByteVector data;
  for (int step = 0; step < 120; ++step) {
    const bool large = random() % 8 == 0;
    const std::uint64_t count = 1 + random() % (large ? 3'000'000 : 70'000);
    const std::uint64_t at = random() % (length - count);
    const auto part = model.subspan(at, count);
    data.resize(count);
    switch (random() % 4) {
      case 0:
      case 1:
        ASSERT_EQ(0, ::nbd_pread(client, data.data(), count, begin + at, 0)) << ::nbd_get_error();
        ASSERT_TRUE(std::ranges::equal(part, data)) << "step " << step;
        break;
      case 2:
        for (std::byte& each : data) each = static_cast<std::byte>(random());
        ASSERT_EQ(0, ::nbd_pwrite(client, data.data(), count, begin + at,
                                  random() % 5 == 0 ? LIBNBD_CMD_FLAG_FUA : 0))
            << ::nbd_get_error();
        std::ranges::copy(data, part.begin());
        break;
      default:
        ASSERT_EQ(0, ::nbd_zero(client, count, begin + at, 0)) << ::nbd_get_error();
        std::ranges::fill(part, std::byte{0});
    }
  }
}

TEST(Libnbd, RandomRequestsOnFourConnections) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const auto device = std::make_shared<ScriptedDevice>(kSize, true);
  ServedExports server(one_export(device));
  ByteVector model = device->bytes();
  constexpr std::uint64_t kPart = kSize / 4;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      work_on_part(server.uri(), seed + i, i * kPart, kPart, i % 2 == 0,
                   std::span(model).subspan(i * kPart, kPart));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server.stop().ok());
  EXPECT_TRUE(model == device->bytes());
}

// Many requests under way on one connection, as a queue-depth benchmark or a kernel would have.
TEST(Libnbd, DeepQueue) {
  ServedExports server(one_export(std::make_shared<ScriptedDevice>(kSize, false)));
  const Client client(server.uri());
  constexpr std::size_t kDepth = 64;
  constexpr std::size_t kBytes = 4096;
  std::vector<ByteVector> data(kDepth, ByteVector(kBytes));
  for (int round = 0; round < 10; ++round) {
    std::vector<std::int64_t> cookies;
    for (std::size_t i = 0; i < kDepth; ++i) {
      const std::uint64_t at = (i * 7919 + static_cast<std::uint64_t>(round)) * 13;
      cookies.push_back(
          ::nbd_aio_pread(client, data[i].data(), kBytes, at, ::nbd_completion_callback{}, 0));
      ASSERT_GE(cookies.back(), 0) << ::nbd_get_error();
    }
    while (::nbd_aio_in_flight(client) > 0) ASSERT_GE(::nbd_poll(client, -1), 0);
    for (std::size_t i = 0; i < kDepth; ++i) {
      EXPECT_EQ(1, ::nbd_aio_command_completed(client, static_cast<std::uint64_t>(cookies[i])));
      const std::uint64_t at = (i * 7919 + static_cast<std::uint64_t>(round)) * 13;
      EXPECT_EQ(ScriptedDevice::pattern(at), data[i][0]);
      EXPECT_EQ(ScriptedDevice::pattern(at + kBytes - 1), data[i][kBytes - 1]);
    }
  }
}

}  // namespace
}  // namespace latchkey::frontends
