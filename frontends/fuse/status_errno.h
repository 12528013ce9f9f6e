// The one place where an IoStatus becomes the errno a FUSE client sees.
//
// An errno of the storage is not passed through: the kernel reads some of them as statements about
// the protocol. ENOSYS from an fsync would make it answer every later fsync "done" without asking,
// EAGAIN and EINTR would make clients retry for ever. What the storage said stands in the fault
// log.
#pragma once

#include <cerrno>

#include "engine/io_status.h"

namespace latchkey::frontends {

constexpr int fuse_errno(engine::IoStatus status) noexcept {
  using engine::IoCode;
  switch (status.code()) {
    case IoCode::kOk:
      return 0;
    case IoCode::kOutOfRange:
      return EINVAL;
    case IoCode::kReadOnly:
      return EROFS;
    case IoCode::kSealed:
    case IoCode::kOnlyZeros:
      return EPERM;
    case IoCode::kNoSpace:
      return ENOSPC;
    case IoCode::kNotSupported:
      return EOPNOTSUPP;
    case IoCode::kFailed:
    case IoCode::kDamaged:
      break;
  }
  return EIO;
}

}  // namespace latchkey::frontends
