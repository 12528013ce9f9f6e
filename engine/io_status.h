// Data-plane results: what a read, write or flush came to. Two numbers, no strings, no allocation;
// the words for the user are made once per device and kind of failure, off the request path, by the
// fault log (fault_log.h).
#pragma once

#include <cerrno>
#include <cstdint>

namespace latchkey::engine {

enum class IoCode : std::uint8_t {
  kOk,
  kFailed,        // the medium or the system failed: sys_errno says how
  kOutOfRange,    // offset and length do not lie inside the device
  kReadOnly,      // the device takes no writes at all
  kSealed,        // the device takes writes, this part of it does not (nothing was written)
  kOnlyZeros,     // part of the range takes zeros and nothing else (nothing was written)
  kNoSpace,       // no room for a new block
  kDamaged,       // the metadata that should say where the bytes live is wrong
  kNotSupported,  // this operation is not offered here (a fast zero, a discard)
};

class [[nodiscard]] IoStatus {
 public:
  constexpr IoStatus() noexcept = default;
  constexpr IoStatus(IoCode code, int sys_errno) noexcept : code_(code), sys_errno_(sys_errno) {}
  constexpr IoStatus(IoCode code) noexcept  // NOLINT: a code is a status, with its usual errno
      : code_(code), sys_errno_(usual_errno(code)) {}

  // From a failed system call.
  static constexpr IoStatus from_errno(int sys_errno) noexcept {
    const bool full = sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG;
    return {full ? IoCode::kNoSpace : IoCode::kFailed, sys_errno};
  }

  constexpr bool ok() const noexcept { return code_ == IoCode::kOk; }
  constexpr explicit operator bool() const noexcept { return ok(); }
  constexpr IoCode code() const noexcept { return code_; }
  constexpr int sys_errno() const noexcept { return sys_errno_; }

 private:
  static constexpr int usual_errno(IoCode code) noexcept {
    switch (code) {
      case IoCode::kOk:
        return 0;
      case IoCode::kFailed:
        return EIO;
      case IoCode::kOutOfRange:
        return EINVAL;
      case IoCode::kReadOnly:
      case IoCode::kSealed:
      case IoCode::kOnlyZeros:
        return EPERM;
      case IoCode::kNoSpace:
        return ENOSPC;
      case IoCode::kDamaged:
        return EIO;
      case IoCode::kNotSupported:
        return EOPNOTSUPP;
    }
    return EIO;
  }

  IoCode code_ = IoCode::kOk;
  int sys_errno_ = 0;
};

}  // namespace latchkey::engine
