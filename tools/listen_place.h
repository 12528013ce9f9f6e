// Where `serve` listens, checked as far as that can be done before any key is asked for or derived.
#pragma once

#include <memory>
#include <string>

#include "engine/result.h"
#include "frontends/nbd/server.h"

namespace latchkey::tools {

struct ListenOptions {
  std::string socket;     // a path, or
  std::string listen;     // HOST:PORT, or neither: a private temporary socket
  bool insecure = false;  // HOST may be beyond this machine
};

// A directory only we can enter, for a socket nobody named. Removed with what is in it.
class PrivateDirectory {
 public:
  // In $XDG_RUNTIME_DIR, $TMPDIR or /tmp, whichever of them can be used.
  static engine::Result<std::unique_ptr<PrivateDirectory>> make();
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

struct ListenPlace {
  frontends::NbdOptions nbd;                    // place and allow_remote are set
  std::unique_ptr<PrivateDirectory> directory;  // holds the socket nobody named

  // For a socket that nobody named. Only once the image is open: a control-C at the passphrase ends
  // the process and would leave the directory.
  engine::Result<void> make_private_directory();

  // The absolute path of the unix socket; empty for TCP.
  std::string unix_socket() const;
};

// Errors: kUsage where another place has to be named, kSystem.
engine::Result<std::unique_ptr<ListenPlace>> choose_listen_place(const ListenOptions& options);

}  // namespace latchkey::tools
