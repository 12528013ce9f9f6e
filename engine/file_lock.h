// Locks on image files, so that two programs do not write one image at the same time.
//
// Two kinds are taken, because they do not see each other: flock(), which Latchkey's own processes,
// util-linux and systemd look at, and the byte locks QEMU puts on images (its documentation,
// "image locking": byte 100 + n is held by whoever uses permission n, byte 200 + n by whoever does
// not share it; 0 consistent read, 1 write, 3 resize). They belong to the open file description and
// go with it.
#pragma once

#include <string>

#include "engine/notices.h"
#include "engine/result.h"

namespace latchkey::engine {

enum class FileLock { kShared, kExclusive };

// Never waits. kSystem when another process is in the way; the message says in which way. A file
// system that knows no locks is a notice, not an error.
Result<void> lock_file(int fd, FileLock mode, const std::string& path, Notices& notices);

// Is somebody writing? Holds no lock afterwards. For commands that only look.
bool has_writer(int fd) noexcept;

}  // namespace latchkey::engine
