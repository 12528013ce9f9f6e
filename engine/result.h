// Control-plane results: opening files, parsing headers, unlocking. Not for the data path, which
// uses IoStatus (io_status.h) and never allocates.
//
// A Result<T> is either a T or an Error. An Error carries a code (what kind of failure: it decides
// the exit status and whether another key may be tried), an errno where the system gave one, one
// lower-case line that says what is wrong and where, and a hint that says what to do about it.
// Each layer that passes an error on adds one phrase with within(). Values, movable; no threads.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace latchkey::engine {

enum class ErrorCode {
  kWrongKey,      // this secret does not open this protector: try the next pair
  kKeyNeeded,     // no key fits, or one is needed and none was given
  kDamaged,       // the bytes on disk contradict their format
  kNotSupported,  // sound, but not something this version can open
  kUsage,         // the caller asked for something that makes no sense
  kRefused,       // it ran, and the answer is no
  kSystem,        // the operating system said no; sys_errno says why
};

class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // "cannot open disk.vhd: no such file or directory"; keeps the errno.
  static Error system(const std::string& what, int sys_errno) {
    std::string reason = std::generic_category().message(sys_errno);
    if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z' &&
        (reason.size() < 2 || reason[1] < 'A' || reason[1] > 'Z')) {
      reason[0] = static_cast<char>(reason[0] - 'A' + 'a');
    }
    Error error(ErrorCode::kSystem, what + ": " + reason);
    error.sys_errno_ = sys_errno;
    return error;
  }

  ErrorCode code() const noexcept { return code_; }
  int sys_errno() const noexcept { return sys_errno_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& hint() const noexcept { return hint_; }

  // Says where: "keyslot 3: anti-forensic stripes are 0". The outermost phrase ends up first.
  Error within(const std::string& where) && {
    message_ = where + ": " + message_;
    return std::move(*this);
  }
  Error with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }

 private:
  ErrorCode code_;
  int sys_errno_ = 0;
  std::string message_;
  std::string hint_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  // From what becomes a T: a pointer to a derived class.
  template <class U, class = std::enable_if_t<std::is_convertible_v<U&&, T> &&
                                              !std::is_same_v<std::decay_t<U>, T> &&
                                              !std::is_same_v<std::decay_t<U>, Error> &&
                                              !std::is_same_v<std::decay_t<U>, Result>>>
  Result(U&& value)  // NOLINT
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  // Undefined unless ok().
  T& value() & noexcept { return *std::get_if<0>(&state_); }
  const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & noexcept { return value(); }
  const T& operator*() const& noexcept { return value(); }
  T&& operator*() && noexcept { return std::move(*this).value(); }
  T* operator->() noexcept { return &value(); }
  const T* operator->() const noexcept { return &value(); }

  // Undefined if ok().
  const Error& error() const& noexcept { return *std::get_if<1>(&state_); }
  Error&& error() && noexcept { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

// A Result with nothing inside: success, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  const Error& error() const& noexcept { return *error_; }
  Error&& error() && noexcept { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace latchkey::engine
