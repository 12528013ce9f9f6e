// The anti-forensic splitter of LUKS1 ("AFsplit", on-disk format 1.2 section 2.4), which LUKS2
// kept: a key is spread over many stripes so that losing any of them loses the key. Any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/bytes.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"

namespace latchkey::keyslots {

// `material` holds at least key_bytes * stripes bytes; the product is the caller's to bound.
// kNotSupported names an unknown hash; kDamaged: no stripes, or too little material.
engine::Result<engine::SecretBytes> anti_forensic_merge(engine::Bytes material,
                                                        std::size_t key_bytes,
                                                        std::uint32_t stripes,
                                                        std::string_view hash);

// The other way: `key` spread over random stripes, which merging gives back. Errors: as above, and
// kSystem where the kernel has no random bytes.
engine::Result<engine::SecretBytes> anti_forensic_split(engine::Bytes key, std::uint32_t stripes,
                                                        std::string_view hash);

}  // namespace latchkey::keyslots
