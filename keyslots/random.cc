#include "keyslots/random.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

#include <sys/random.h>

#include "engine/guid.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::MutableBytes;
using engine::Result;
using engine::SecretBytes;

Result<void> fill_random(MutableBytes into) {
  constexpr std::size_t kAtOnce = std::size_t{64} << 10;  // a signal may cut more of it short
  while (!into.empty()) {
    const ssize_t got = getrandom(into.data(), std::min(into.size(), kAtOnce), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error::system("cannot get random bytes from the kernel", errno);
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<SecretBytes> random_secret(std::size_t size_bytes) {
  SecretBytes bytes(size_bytes);
  if (auto done = fill_random(bytes.span()); !done) return std::move(done).error();
  return bytes;
}

Result<std::string> random_uuid() {
  std::array<std::byte, 16> bytes{};
  if (auto done = fill_random(bytes); !done) return std::move(done).error();
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return engine::uuid_text(bytes, 0);
}

bool is_uuid(std::string_view text) {
  constexpr std::string_view kShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool fits =
        kShape[i] == '-' ? text[i] == '-' : std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
    if (!fits) return false;
  }
  return true;
}

}  // namespace latchkey::keyslots
