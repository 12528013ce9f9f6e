// What expose and mount have in common: check the mount point, fork, open the image in the child,
// make it visible, leave the terminal, serve until unmounted or told to stop, close the image, and
// say how it went: on stderr while there is one, in the system log afterwards, and to whoever waits
// in `latchkey umount`.
#pragma once

#include <string>

#include "engine/result.h"
#include "tools/mount_record.h"
#include "tools/open_image.h"
#include "tools/stop_signals.h"

namespace latchkey::tools {

struct PresentOptions {
  OpenOptions open;
  std::string directory;
  bool foreground = false;
};

// How one command shows an opened image in a directory. Called in this order: start(), then serve()
// or stop(). A start() that failed has left nothing mounted. After serve() or stop() nothing of
// ours is mounted, and no device of the image is held any more.
class Presenter {
 public:
  virtual ~Presenter() = default;
  virtual engine::Result<void> start(const OpenedImage& opened, const std::string& directory,
                                     const MountRecord& record) = 0;
  // Until it was unmounted, or a signal made it stop. The error: what was written may be lost.
  virtual engine::Result<void> serve(StopSignals& signals) = 0;
  virtual engine::Result<void> stop() = 0;
};

// The whole command; the exit status.
int present(const PresentOptions& options, Presenter& presenter);

}  // namespace latchkey::tools
