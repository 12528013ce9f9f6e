// Exports as files: a FUSE file system that is one directory with one file per export, those named
// "folder/file" one level down.
//
// A file is as long as its device; 0600 where the device is writable and 0400 where not, owned by
// whoever mounted; the directory is 0500. Nothing can be created, removed or resized. Reading,
// writing, fsync (device flush), punching and zeroing ranges, SEEK_DATA and SEEK_HOLE work.
//
// Life of an object:
//   mount()  the directory is mounted and being served by worker threads
//   wait()   blocks until it was unmounted and its last user has left, or a descriptor is readable
//   close()  stops serving, unmounts, flushes every writable device and says whether that worked
//
// hide() takes the directory out of sight while files that are open stay served; wait() then
// returns with the last of them.
//
// Owns the session, its threads and the export list. Used by one thread; that thread must not touch
// files of the directory after close() began. Errors: Result from the functions here; requests are
// answered with the errno of status_errno.h. Protocol: linux/fuse.h through libfuse's low-level
// API.
#pragma once

#include <memory>
#include <string>

#include "engine/result.h"
#include "frontends/export.h"

namespace latchkey::frontends {

struct DirectoryOptions {
  std::string source = "latchkey";  // the name shown in the mount table
  unsigned workers = 0;             // threads; 0: two a processor, at least four
  // Lets processes of other users ask at all; modes and owners still decide. An ordinary user needs
  // the line user_allow_other in /etc/fuse.conf for it.
  bool allow_other = false;
  // Whether the kernel keeps what was read. Without it requests are as large as the reader's, which
  // is the faster way to copy; with it small reads and mmap work well. Where a device is writable
  // there is no cache: `disk` and `p1` are the same bytes under two names, and the kernel caches by
  // file.
  bool page_cache = false;
};

class ExportDirectory {
 public:
  enum class Ending {
    kUnmounted,      // by umount(8) or the kernel: nobody can reach the files any more
    kStopRequested,  // the stop descriptor is readable
  };

  // Mounts on `directory`, which must exist, and begins to serve. Workers block every signal except
  // a real-time one of their own, so that the signals of the process reach other threads.
  // Errors: kSystem where FUSE cannot be used or the mount is refused.
  static engine::Result<std::unique_ptr<ExportDirectory>> mount(const std::string& directory,
                                                                ExportList exports,
                                                                const DirectoryOptions& options);
  // close(), its result dropped.
  ~ExportDirectory();
  ExportDirectory(const ExportDirectory&) = delete;
  ExportDirectory& operator=(const ExportDirectory&) = delete;

  // `stop_fd`: readable means stop; it is not read. -1: only an unmount ends the wait.
  Ending wait(int stop_fd);

  // Detaches the mount from the directory. Open files (a loop device on one of them) stay served.
  engine::Result<void> hide();

  // Requests being worked on are finished; later ones fail with ENOTCONN. Open files are no
  // obstacle. Writable devices are flushed even when the session failed. A second call does
  // nothing.
  engine::Result<void> close();

 private:
  class Session;
  explicit ExportDirectory(std::unique_ptr<Session> session);
  const std::unique_ptr<Session> session_;
};

}  // namespace latchkey::frontends
