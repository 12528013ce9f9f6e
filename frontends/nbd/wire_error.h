// From a device's answer to the number a client gets: the one place where the two meet.
// NBD, "Error values": only the values below may be sent, whatever errno the system gave.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/io_status.h"

namespace latchkey::frontends::nbd {

enum class ErrorValue : std::uint32_t {
  kNone = 0,
  kPermission = 1,     // EPERM
  kIo = 5,             // EIO
  kNoMemory = 12,      // ENOMEM
  kInvalid = 22,       // EINVAL
  kNoSpace = 28,       // ENOSPC
  kOverflow = 75,      // EOVERFLOW
  kNotSupported = 95,  // ENOTSUP
  kShutdown = 108,     // ESHUTDOWN
};

// What goes out: the value and, where replies are structured, words for a person. The text is
// always a literal: nothing is formatted on the request path.
struct WireError {
  ErrorValue value = ErrorValue::kNone;
  std::string_view text;

  bool ok() const noexcept { return value == ErrorValue::kNone; }
};

WireError wire_error(engine::IoStatus status) noexcept;

}  // namespace latchkey::frontends::nbd
