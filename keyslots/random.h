// Random bytes from the kernel (getrandom(2), which waits until its pool has been seeded). Any
// thread. Errors: kSystem.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

engine::Result<void> fill_random(engine::MutableBytes into);
engine::Result<engine::SecretBytes> random_secret(std::size_t size_bytes);
// A version 4 UUID, lower case (RFC 9562 section 5.4).
engine::Result<std::string> random_uuid();

// 8-4-4-4-12 hexadecimal digits, as random_uuid() writes it; capitals are taken, too.
bool is_uuid(std::string_view text);

}  // namespace latchkey::keyslots
