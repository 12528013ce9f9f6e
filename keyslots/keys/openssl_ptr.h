// OpenSSL's objects in unique_ptr. Any thread.
#pragma once

#include <memory>

namespace latchkey::keyslots {

template <auto Free>
struct FreedBy {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
template <class T, auto Free>
using OpensslPtr = std::unique_ptr<T, FreedBy<Free>>;

}  // namespace latchkey::keyslots
