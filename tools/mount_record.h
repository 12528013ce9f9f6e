// What a running `expose` or `mount` leaves for `latchkey umount` to find: a private directory with
// a file that says who serves what where. The server holds a lock on the file until the image is
// closed, so that waiting for the lock is waiting for the image.
//
// In /run/latchkey for root; for others in $XDG_RUNTIME_DIR/latchkey, or /tmp/latchkey-UID. The
// server removes its directory at its end; one left by a server that was killed is removed by the
// next umount that finds it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <sys/types.h>

#include "engine/result.h"

namespace latchkey::tools {

struct MountFacts {
  std::string image;
  std::string directory;  // where the user sees it; absolute
  pid_t server = 0;
};

// The server's side.
class MountRecord {
 public:
  static engine::Result<std::unique_ptr<MountRecord>> create(const MountFacts& facts);
  // finish() with success, where it was not called.
  ~MountRecord();
  MountRecord(const MountRecord&) = delete;
  MountRecord& operator=(const MountRecord&) = delete;

  // A mount point inside the private directory, for a mount nobody should see. It may be removed.
  const std::string& hidden_directory() const noexcept { return hidden_; }

  // The image is closed: leaves the outcome for those who wait, and removes everything.
  void finish(const engine::Result<void>& outcome) noexcept;

 private:
  MountRecord(std::string folder, int fd);
  const std::string folder_;
  const std::string hidden_;
  int fd_;
};

// The side of umount: a record found by its directory.
class FoundRecord {
 public:
  // The newest of this user with that directory; nullopt: none.
  static std::optional<FoundRecord> of(const std::string& directory);
  FoundRecord(FoundRecord&& other) noexcept;
  FoundRecord& operator=(FoundRecord&&) noexcept;
  ~FoundRecord();

  const MountFacts& facts() const noexcept { return facts_; }
  bool server_is_gone() const noexcept;

  // Waits until the server has closed the image. The server's outcome; kSystem where the time is
  // over or the server was killed.
  engine::Result<void> wait(std::chrono::seconds at_most) const;

 private:
  FoundRecord(std::string folder, int fd, MountFacts facts);
  engine::Result<void> outcome() const;
  std::string folder_;
  int fd_;
  MountFacts facts_;
};

}  // namespace latchkey::tools
