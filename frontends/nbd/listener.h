// The listening socket: where it is, who may connect, what it is called, and its removal.
// One thread. Errors: Result, each with what to do about it.
#pragma once

#include <string>

#include <sys/types.h>

#include "engine/unique_fd.h"
#include "frontends/nbd/server.h"

namespace latchkey::frontends::nbd {

class Listener {
 public:
  static engine::Result<Listener> open(const NbdOptions& options);
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = default;
  ~Listener() = default;

  int fd() const noexcept { return socket_.get(); }  // non-blocking
  std::string uri(const std::string& export_name) const;

  // Takes no more clients: removes a unix socket's path, if it is still the one made here, and
  // closes the socket. The uri stays what it was.
  void close() noexcept;

 private:
  Listener() = default;
  static engine::Result<Listener> open_unix(const NbdUnixPlace& place);
  static engine::Result<Listener> open_tcp(const NbdTcpPlace& place, bool allow_remote);

  engine::UniqueFd socket_;
  std::string path_;       // absolute; unix only
  dev_t path_device_ = 0;  // what was bound there
  ino_t path_inode_ = 0;
  std::string address_;  // "127.0.0.1:10809"; TCP only
};

}  // namespace latchkey::frontends::nbd
