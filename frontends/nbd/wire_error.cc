#include "frontends/nbd/wire_error.h"

#include <cerrno>

namespace latchkey::frontends::nbd {

namespace {

WireError failed_with(int sys_errno) noexcept {
  switch (sys_errno) {
    case EPERM:
    case EACCES:
    case EROFS:
      return {ErrorValue::kPermission, "not permitted"};
    case ENOMEM:
      return {ErrorValue::kNoMemory, "out of memory"};
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return {ErrorValue::kNoSpace, "no space left"};
    case ESHUTDOWN:
      return {ErrorValue::kShutdown, "the server is shutting down"};
    default:
      return {ErrorValue::kIo, "the storage below failed"};
  }
}

}  // namespace

WireError wire_error(engine::IoStatus status) noexcept {
  switch (status.code()) {
    case engine::IoCode::kOk:
      return {};
    case engine::IoCode::kFailed:
      return failed_with(status.sys_errno());
    case engine::IoCode::kOutOfRange:
      return {ErrorValue::kInvalid, "outside the export"};
    case engine::IoCode::kReadOnly:
      return {ErrorValue::kPermission, "the export is read-only"};
    case engine::IoCode::kSealed:
    case engine::IoCode::kOnlyZeros:
      return {ErrorValue::kPermission, "this part of the export takes no writes"};
    case engine::IoCode::kNoSpace:
      return {ErrorValue::kNoSpace, "no space left"};
    case engine::IoCode::kDamaged:
      return {ErrorValue::kIo, "the image's block table is damaged"};
    case engine::IoCode::kNotSupported:
      return {ErrorValue::kNotSupported, "not offered here"};
  }
  return {ErrorValue::kIo, "the storage below failed"};
}

}  // namespace latchkey::frontends::nbd
