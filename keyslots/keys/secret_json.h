// JSON that holds secrets: nlohmann's document with strings that are wiped when they are freed.
// Included by the files that take secrets out of JSON (vault_secret.cc, jwk.cc) and nowhere else.
//
// What this cannot reach: strings of up to 15 characters live inside their string object and are
// not wiped, and the library's reader keeps the raw text of the last token in a buffer of its own,
// freed as it is. A secret that was JSON may therefore have left one copy in freed memory of this
// process; it is never in locked pages only, as SecretBytes are.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/bytes.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() noexcept = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>& /*other*/) noexcept {}  // NOLINT: allocators convert
  T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* at, std::size_t count) noexcept {
    engine::wipe(std::as_writable_bytes(std::span(at, count)));
    std::allocator<T>().deallocate(at, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) noexcept { return true; }
};

using WipedString = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;
using SecretJson = nlohmann::basic_json<std::map, std::vector, WipedString>;

// Nothing where the text is not JSON, or is nested deeper than any key file is.
std::optional<SecretJson> parse_secret_json(engine::Bytes text);

// The member of that name, whatever its case (PowerShell writes Value where others write value);
// null where there is none or `object` is no object.
const SecretJson* member(const SecretJson& object, std::string_view name);

// A text member, made printable; empty where it is missing or none.
std::string printable_member(const SecretJson& object, std::string_view name);

// A text member's bytes; nothing where it is missing or none.
std::optional<engine::SecretBytes> secret_member(const SecretJson& object, std::string_view name);

}  // namespace latchkey::keyslots
