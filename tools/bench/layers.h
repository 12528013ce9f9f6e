// The layers between a file and whoever reads the plaintext, each as something that can be read by
// itself: devices, the device behind our NBD server with a client of its own, and behind FUSE.
//
// A layer is made, read by one thread, and destroyed; what it set up (a server, a mount) is gone
// with it.
#pragma once

#include <memory>
#include <string>

#include "engine/block_device.h"
#include "engine/result.h"
#include "tools/bench/reading.h"

namespace latchkey::tools::bench {

class Layer {
 public:
  virtual ~Layer() = default;
  Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // One repetition.
  virtual engine::Result<Sample> read(const Access& access, const Pace& pace) = 0;
};

// Read errors name `what` and the offset.
std::unique_ptr<Layer> make_device_layer(engine::DevicePtr device, const Range& range,
                                         std::string what);

// How many requests the client keeps on the way where it reads from start to end, and their size.
inline constexpr unsigned kNbdRequestsAhead = 8;
inline constexpr std::size_t kNbdRequestBytes = std::size_t{256} * 1024;
// How many connections it has for random reads at depth: one, two or four, by the cores there are.
unsigned nbd_connections(unsigned cores);

// A server on a unix socket in `directory`, which must be private, and a client of libnbd's.
// Sequential reads go through one connection; random ones at depth are spread over all.
engine::Result<std::unique_ptr<Layer>> make_nbd_layer(engine::DevicePtr device, const Range& range,
                                                      const std::string& directory,
                                                      unsigned connections);

// The device as a file below `directory`. Sequential reads are those of `dd bs=1M`, random ones
// direct (O_DIRECT), so that none is answered out of the page cache. kSystem where FUSE cannot be
// used.
engine::Result<std::unique_ptr<Layer>> make_fuse_layer(engine::DevicePtr device, const Range& range,
                                                       const std::string& directory);

}  // namespace latchkey::tools::bench
