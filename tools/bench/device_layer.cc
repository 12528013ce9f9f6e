#include <utility>

#include <fmt/format.h>

#include "tools/bench/layers.h"

namespace latchkey::tools::bench {

using engine::Error;
using engine::Result;

namespace {

class DeviceLayer final : public Layer {
 public:
  DeviceLayer(engine::DevicePtr device, const Range& range, std::string what)
      : device_(std::move(device)), range_(range), what_(std::move(what)) {}

  Result<Sample> read(const Access& access, const Pace& pace) override {
    return read_range(
        [this](std::uint64_t offset, std::span<std::byte> into) -> Result<void> {
          const engine::IoStatus status = device_->read(offset, into);
          if (status.ok()) return {};
          return Error::system(
              fmt::format("{}: cannot read {} bytes at byte {}", what_, into.size(), offset),
              status.sys_errno() != 0 ? status.sys_errno() : EIO);
        },
        range_, access, pace);
  }

 private:
  const engine::DevicePtr device_;
  const Range range_;
  const std::string what_;
};

}  // namespace

std::unique_ptr<Layer> make_device_layer(engine::DevicePtr device, const Range& range,
                                         std::string what) {
  return std::make_unique<DeviceLayer>(std::move(device), range, std::move(what));
}

}  // namespace latchkey::tools::bench
