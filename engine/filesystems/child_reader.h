// Runs a reading library in a child process and takes what it read through a pipe.
//
// libfsxfs 20201117 corrupts its heap on some damaged file systems (a handful among hundreds with
// random bytes changed: a double free). Here that ends the child and is an error like any other;
// this process holds keys later on. Called before any secret is read and any thread is started.
#pragma once

#include <functional>

#include "engine/filesystems/file_readers.h"

namespace latchkey::engine {

// What `read` returns, called in the child. Errors besides its own: kDamaged where the child ended
// before it had an answer, kSystem where there is no child to be had. The child has half a minute
// of processor time.
Result<FileBytes> read_in_child(const std::function<Result<FileBytes>()>& read);

}  // namespace latchkey::engine
