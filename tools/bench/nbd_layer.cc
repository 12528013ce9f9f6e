#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <libnbd.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/unique_fd.h"
#include "frontends/nbd/server.h"
#include "tools/bench/layers.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using frontends::NbdServer;

namespace {

using Clock = std::chrono::steady_clock;

// Our server in a thread of its own.
class RunningServer {
 public:
  static Result<std::unique_ptr<RunningServer>> start(engine::DevicePtr device,
                                                      const std::string& socket) {
    frontends::NbdOptions options;
    options.place.emplace<frontends::NbdUnixPlace>().path = socket;
    frontends::ExportList exports;
    exports.exports.push_back({"volume", "benchmark", std::move(device)});
    auto server = NbdServer::listen(std::move(options), std::move(exports));
    if (!server) return std::move(server).error();
    engine::UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (stop.get() < 0) return Error::system("nbd: no event descriptor", errno);
    std::unique_ptr<RunningServer> running(new RunningServer(std::move(*server), std::move(stop)));
    try {
      running->thread_ = std::thread([one = running.get()] {
        // What it fails with, its clients meet too.
        if (auto served = one->server_->run(one->stop_.get()); !served) return;
      });
    } catch (const std::system_error& failed) {
      return Error::system("nbd: cannot start the server", failed.code().value());
    }
    return running;
  }
  ~RunningServer() {
    const std::uint64_t one = 1;
    // Cannot fail: the counter would have to reach 2^64 - 1.
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    if (thread_.joinable()) thread_.join();
  }
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;

 private:
  RunningServer(std::unique_ptr<NbdServer> server, engine::UniqueFd stop)
      : server_(std::move(server)), stop_(std::move(stop)) {}
  const std::unique_ptr<NbdServer> server_;
  const engine::UniqueFd stop_;
  std::thread thread_;
};

// What a run through one connection reads.
struct Stream {
  unsigned ahead = 1;  // requests on the way
  bool requests_count = false;
  // Where the next request goes, and how long it is; 0: there is no more to read.
  std::function<std::pair<std::uint64_t, std::size_t>()> next;
};

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const std::string& socket) {
    std::unique_ptr<Connection> connection(new Connection(nbd_create()));
    if (connection->handle_ == nullptr) return failed("cannot be used");
    // Every byte of a buffer is overwritten by what is read, so it needs no zeros first.
    (void)nbd_set_pread_initialize(connection->handle_, false);
    if (nbd_connect_unix(connection->handle_, socket.c_str()) != 0) return failed("cannot connect");
    return connection;
  }
  ~Connection() {
    if (handle_ == nullptr) return;
    (void)nbd_shutdown(handle_, 0);
    nbd_close(handle_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // After a read that failed nothing more is sent, and what is on the way is waited for: it goes
  // into the buffers of the slots.
  Result<Sample> run(const Stream& stream, const Pace& pace) {
    while (slots_.size() < stream.ahead) slots_.emplace_back(kNbdRequestBytes);
    Sample sample;
    std::optional<Error> error;
    const auto start = Clock::now();
    bool ended = false;
    while (true) {
      unsigned busy = 0;
      for (unsigned i = 0; i < stream.ahead; ++i) {
        Slot& slot = slots_[i];
        if (!slot.busy) {
          if (const int reason = std::exchange(slot.failed, 0); reason != 0) {
            error = Error::system(fmt::format("nbd: cannot read at byte {}", slot.offset), reason);
            ended = true;
          }
          sample.units += stream.requests_count ? slot.requests_done() : slot.bytes_done();
          if (!ended) ended = !send(slot, stream.next());
          if (slot.refused) return failed("cannot send a request");
        }
        busy += slot.busy ? 1 : 0;
      }
      if (busy == 0) break;
      if (nbd_poll(handle_, -1) < 0) return failed("the connection was lost");
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      ended = ended || seconds >= pace.seconds || pace.interrupted.load(std::memory_order_relaxed);
    }
    if (error) return std::move(*error);
    sample.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return sample;
  }

 private:
  struct Slot {
    explicit Slot(std::size_t bytes) : buffer(bytes) {}
    std::uint64_t requests_done() noexcept { return std::exchange(length, 0) > 0 ? 1 : 0; }
    std::uint64_t bytes_done() noexcept { return std::exchange(length, 0); }
    PageBuffer buffer;
    std::uint64_t offset = 0;
    std::size_t length = 0;  // of what it has read and was not counted yet
    bool busy = false;
    bool refused = false;
    int failed = 0;
  };

  explicit Connection(nbd_handle* handle) : handle_(handle) {}

  static Error failed(const char* what) {
    const int reason = nbd_get_errno();
    const char* said = nbd_get_error();
    return Error(ErrorCode::kSystem,
                 fmt::format("nbd: {}: {}", what,
                             said != nullptr ? engine::printable(said) : std::to_string(reason)));
  }

  // False: there is nothing more to read.
  bool send(Slot& slot, const std::pair<std::uint64_t, std::size_t>& place) {
    if (place.second == 0) return false;
    slot.offset = place.first;
    slot.length = place.second;
    slot.busy = true;
    nbd_completion_callback done{};
    done.callback = [](void* user, int* error) {
      static_cast<Slot*>(user)->busy = false;
      static_cast<Slot*>(user)->failed = *error;
      return 1;  // retired
    };
    done.user_data = &slot;
    slot.refused =
        nbd_aio_pread(handle_, slot.buffer.span().data(), slot.length, slot.offset, done, 0) < 0;
    return !slot.refused;
  }

  nbd_handle* const handle_;
  std::deque<Slot> slots_;  // requests on the way point at theirs: they stay where they are
};

class NbdLayer final : public Layer {
 public:
  NbdLayer(std::unique_ptr<RunningServer> server,
           std::vector<std::unique_ptr<Connection>> connections, const Range& range)
      : server_(std::move(server)), connections_(std::move(connections)), range_(range) {}

  Result<Sample> read(const Access& access, const Pace& pace) override {
    if (access.pattern == Pattern::kSequential) {
      return connections_.front()->run(in_sequence(access.once), pace);
    }
    if (access.depth == 1) return connections_.front()->run(at_random(1, 0), pace);
    const auto count = static_cast<unsigned>(connections_.size());
    const unsigned each = std::max(1U, access.depth / count);
    std::vector<Result<Sample>> results(count, Sample{});
    try {
      std::vector<std::jthread> team;
      for (unsigned i = 0; i < count; ++i) {
        team.emplace_back([&, i] { results[i] = connections_[i]->run(at_random(each, i), pace); });
      }
    } catch (const std::system_error& failed) {
      return Error::system(fmt::format("cannot start {} threads", count), failed.code().value());
    }
    Sample total;
    for (Result<Sample>& one : results) {
      if (!one) return std::move(one).error();
      total.units += one->units;
      total.seconds = std::max(total.seconds, one->seconds);
    }
    return total;
  }

 private:
  Stream in_sequence(bool once) const {
    Stream stream{.ahead = kNbdRequestsAhead, .requests_count = false, .next = {}};
    stream.next = [range = range_, once, at = std::uint64_t{0}]() mutable {
      if (at == range.length && !once) at = 0;
      const auto bytes =
          static_cast<std::size_t>(std::min<std::uint64_t>(kNbdRequestBytes, range.length - at));
      const std::uint64_t offset = range.offset + at;
      at += bytes;
      return std::pair(offset, bytes);
    };
    return stream;
  }

  Stream at_random(unsigned ahead, std::uint64_t seed) const {
    Stream stream{.ahead = ahead, .requests_count = true, .next = {}};
    stream.next = [places = RandomPlaces(range_, seed)]() mutable {
      return std::pair(places.next(), kRandomBytes);
    };
    return stream;
  }

  const std::unique_ptr<RunningServer> server_;  // outlives its connections
  const std::vector<std::unique_ptr<Connection>> connections_;
  const Range range_;
};

}  // namespace

unsigned nbd_connections(unsigned cores) {
  return cores >= 4 ? 4 : std::clamp(cores, 1U, 2U);
}

Result<std::unique_ptr<Layer>> make_nbd_layer(engine::DevicePtr device, const Range& range,
                                              const std::string& directory, unsigned connections) {
  const std::string socket = directory + "/nbd.sock";
  auto server = RunningServer::start(std::move(device), socket);
  if (!server) return std::move(server).error();
  std::vector<std::unique_ptr<Connection>> clients;
  for (unsigned i = 0; i < connections; ++i) {
    auto client = Connection::open(socket);
    if (!client) return std::move(client).error();
    clients.push_back(std::move(*client));
  }
  return std::unique_ptr<Layer>(
      std::make_unique<NbdLayer>(std::move(*server), std::move(clients), range));
}

}  // namespace latchkey::tools::bench
