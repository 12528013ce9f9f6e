// A running server on a unix socket in a folder of its own, for one test.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontends/nbd/server.h"

namespace latchkey::frontends {

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "latchkey-nbd-XXXXXX").string();
    EXPECT_NE(nullptr, ::mkdtemp(name.data()));
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

class ServedExports {
 public:
  // options.place is set to the socket here unless it is TCP.
  explicit ServedExports(ExportList exports, NbdOptions options = {}, bool tcp = false)
      : stop_fd_(::eventfd(0, EFD_CLOEXEC)) {
    if (!tcp) options.place = NbdUnixPlace{socket_path()};
    auto listening = NbdServer::listen(std::move(options), std::move(exports));
    if (!listening) {
      ADD_FAILURE() << listening.error().message();
      return;
    }
    server_ = std::move(listening).value();
    thread_ = std::thread([this] { result_ = server_->run(stop_fd_); });
  }
  ~ServedExports() {
    static_cast<void>(stop());  // a test that expects a failure asks itself
    ::close(stop_fd_);
  }
  ServedExports(const ServedExports&) = delete;
  ServedExports& operator=(const ServedExports&) = delete;

  std::string socket_path() const { return folder_.file("s"); }
  std::string uri(const std::string& name = "") const { return server_->uri(name); }

  void ask_to_stop() {
    const std::uint64_t one = 1;
    EXPECT_EQ(ssize_t{sizeof one}, ::write(stop_fd_, &one, sizeof one));
  }
  // Waits until nobody listens on the port any more.
  static void wait_until_refused(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (bool refused = false; !refused; std::this_thread::yield()) {
      const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      refused = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
      ::close(probe);
    }
  }
  // Waits until run() has returned; what it returned.
  engine::Result<void> stop() {
    if (thread_.joinable()) {
      ask_to_stop();
      thread_.join();
    }
    return result_;
  }

 private:
  ScratchFolder folder_;
  int stop_fd_;
  std::unique_ptr<NbdServer> server_;
  std::thread thread_;
  engine::Result<void> result_;
};

inline ExportList one_export(engine::DevicePtr device) {
  return {{{"disk", "the whole disk", std::move(device)}}, 0};
}

}  // namespace latchkey::frontends
