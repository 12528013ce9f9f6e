// Reading metadata from a device on the control plane: all of it, or an Error that says what could
// not be read and where. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::engine {

// Errors: kSystem where the device fails; kDamaged where `offset` and the size leave the device, or
// where its own metadata does not say where the bytes live.
inline Result<void> read_bytes(BlockDevice& device, std::uint64_t offset, MutableBytes into,
                               std::string_view what) {
  if (!device.in_range(offset, into.size())) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("the {} at byte {} lies beyond the end of the {} bytes there are",
                             what, offset, device.size_bytes()));
  }
  const IoStatus status = device.read(offset, into);
  if (status.ok()) return {};
  if (status.code() == IoCode::kDamaged) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("cannot read the {} at byte {}: the block table of the image is "
                             "damaged there, or the image is cut short",
                             what, offset));
  }
  return Error::system(fmt::format("cannot read the {} at byte {}", what, offset),
                       status.sys_errno());
}

// The caller bounds `size`.
inline Result<std::vector<std::byte>> read_bytes(BlockDevice& device, std::uint64_t offset,
                                                 std::size_t size, std::string_view what) {
  std::vector<std::byte> bytes(size);
  if (auto done = read_bytes(device, offset, bytes, what); !done) return std::move(done).error();
  return bytes;
}

}  // namespace latchkey::engine
