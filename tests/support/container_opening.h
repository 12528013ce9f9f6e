// Opening container images that a test made in memory, and looking at what was said about them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/containers/container.h"
#include "engine/memory_device.h"
#include "engine/notices.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

struct OpenedContainer {
  std::shared_ptr<engine::MemoryDevice> file;
  engine::Notices notices;
  engine::Result<engine::Container> container;

  bool ok() const { return container.ok(); }
  engine::BlockDevice& disk() { return *container->disk; }
  // All notices, one a line: "where: text".
  std::string said() const {
    std::string lines;
    for (const engine::Notice& notice : notices.items()) {
      lines += notice.where + ": " + notice.text + "\n";
    }
    return lines;
  }
  std::string refusal() const { return container.ok() ? "it opened" : container.error().message(); }
};

inline OpenedContainer open_image(ByteVector image, bool writable = false,
                                  std::string_view file_name = {}) {
  auto file = std::make_shared<engine::MemoryDevice>(std::move(image), writable);
  engine::Notices notices;
  auto container = engine::open_container(file, notices, file_name);
  return {std::move(file), std::move(notices), std::move(container)};
}

inline ByteVector read_all(engine::BlockDevice& device) {
  ByteVector bytes(device.size_bytes());
  EXPECT_TRUE(device.read(0, bytes).ok());
  return bytes;
}

}  // namespace latchkey::test
