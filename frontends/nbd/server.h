// The NBD server: presents an ExportList on one unix or TCP socket until it is told to stop.
//
//   auto server = NbdServer::listen({.place = NbdUnixPlace{"disk.sock"}}, exports);
//   if (server) { announce((*server)->uri()); result = (*server)->run(stop_fd); }
//
// Speaks fixed newstyle NBD: options EXPORT_NAME, GO, INFO, LIST, ABORT, STRUCTURED_REPLY,
// LIST/SET_META_CONTEXT (base:allocation); commands READ, WRITE, FLUSH, TRIM, WRITE_ZEROES, CACHE,
// BLOCK_STATUS, DISC; multi-conn. No TLS.
//
// Files: protocol.h constants; wire_error device status -> wire value; byte_stream and
// socket_stream the connection; listener the listening socket; handshake; transmission with
// request_buffer, reply_queue and whole_writes; server one thread a connection.
//
// Threads: listen() and run() are called by one thread; uri() by any. run() starts one thread a
// connection (with all signals blocked) and joins them all before it returns. Each connection owns
// two buffers of about 1 MiB, whose pages are touched only as far as requests need them. One write
// at a time, of those that only their content lets pass (whole_writes.h), has up to 32 MiB more.
// Errors: Result with a hint; a client's misbehaviour ends its own connection and nothing else.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "engine/result.h"
#include "frontends/export.h"

namespace latchkey::frontends {

struct NbdUnixPlace {
  std::string path;  // must not exist; the socket is created with mode 0600 and removed by run()
};

struct NbdTcpPlace {
  std::string host;        // a name or an address, without brackets
  std::uint16_t port = 0;  // 0: the kernel chooses; uri() tells
};

// "127.0.0.1:10809", "localhost:0", "[::1]:10809".
engine::Result<NbdTcpPlace> parse_tcp_place(const std::string& text);

struct NbdOptions {
  std::variant<NbdUnixPlace, NbdTcpPlace> place;
  bool allow_remote = false;   // listen beyond loopback, where anyone can read the plaintext
  bool allow_discard = false;  // offer TRIM on writable exports
  // A client beyond these is closed after a moment's wait for a free place: it learns of it at
  // once, instead of hanging in the backlog while its other connections wait for it.
  unsigned max_connections = 16;
  std::chrono::milliseconds handshake_timeout{10'000};
  // How long a client that does not read its answers can hold a stop.
  std::chrono::milliseconds stop_timeout{3'000};
  std::chrono::milliseconds full_wait{250};
};

class NbdServer {
 public:
  // Creates the socket: from here on clients can connect, and are served once run() is called.
  // kUsage: an address beyond loopback without allow_remote, a path or host that cannot
  // be meant; kSystem: the system said no ("socket PATH exists").
  static engine::Result<std::unique_ptr<NbdServer>> listen(NbdOptions options, ExportList exports);
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  // "nbd+unix:///p1?socket=/run/disk.sock", "nbd://127.0.0.1:10809/p1"; without a name the default
  // export. Follows the NBD URI specification; the socket's path is absolute.
  std::string uri(const std::string& export_name = "") const;

  // Serves until stop_fd becomes readable (it is not read from). Then: no more clients, each
  // connection answers the requests that had arrived and is closed, writable exports are flushed,
  // the unix socket is removed. At most stop_timeout passes on clients that do not read.
  // Errors: polling failed, or the last flush of an export did.
  engine::Result<void> run(int stop_fd);

 private:
  class Impl;
  explicit NbdServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace latchkey::frontends
