// The Elephant diffuser of BitLocker: two unkeyed permutations of a whole sector, taken as 32-bit
// little-endian words, that spread every bit over it. N. Ferguson, "AES-CBC + Elephant diffuser",
// Microsoft 2006, section 4.
//
// Pure functions; `words` is changed in place. A sector is a whole number of fours of words, at
// least eight (the engine's shortest has 128).
#pragma once

#include <cstdint>
#include <span>

namespace latchkey::engine {

// Diffuser A, then B: before AES-CBC encrypts.
void elephant_diffuse(std::span<std::uint32_t> words) noexcept;
// The inverse: after AES-CBC has decrypted.
void elephant_undiffuse(std::span<std::uint32_t> words) noexcept;

}  // namespace latchkey::engine
