// Which ciphers `bench cipher` measures, and the work each repetition does. Internal to
// cipher_bench.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "engine/sector_cipher.h"
#include "tools/bench/cipher_bench.h"
#include "tools/bench/measurement.h"

namespace latchkey::tools::bench {

struct CipherCase {
  engine::CipherSpec spec;
  unsigned key_bits = 0;

  std::size_t key_bytes() const { return key_bits / 8; }
  // Of the AES that the data goes through: XTS and Elephant have two keys.
  std::size_t aes_key_bytes() const;
  std::string describe() const;  // "aes-xts-plain64, 512-bit key, 4096-byte sectors"
};

// What the options leave open is filled in with what is usual for each cipher.
engine::Result<std::vector<CipherCase>> choose_cases(const CipherBenchOptions& options);

// Any key will do, but for OpenSSL, which refuses equal halves.
engine::SecretBytes some_key(std::size_t bytes);

// Bytes that one call gets: what fits the second-level cache with room to spare, and what the data
// path has in hand between two looks at anything else.
inline constexpr std::size_t kCallBytes = std::size_t{64} * 1024;

// Runs `work` on `threads` threads until the pace says that it is enough. It is called with a
// buffer of kCallBytes that belongs to the thread, and the number of calls before. kSystem: not so
// many threads. The seconds of one thread are what it had of a processor, those of several are by
// the clock on the wall.
using Work = std::function<void(engine::MutableBytes buffer, std::uint64_t call)>;
engine::Result<Sample> run_on_threads(unsigned threads, const Work& work, const Pace& pace);

}  // namespace latchkey::tools::bench
