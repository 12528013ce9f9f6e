// New LUKS volumes in memory for tests of what is written to them, with key slots that cost next to
// nothing.
#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "engine/memory_device.h"
#include "keyslots/luks/luks_format.h"
#include "keyslots/luks/luks_keyslots.h"
#include "tests/keyslots/volume_fixture.h"

namespace latchkey::test {

inline keyslots::KdfSpec cheap_kdf(const std::string& hash = "sha256") {
  keyslots::KdfSpec kdf;
  kdf.type = "pbkdf2";
  kdf.hash = hash;
  kdf.iterations = 1000;
  return kdf;
}

inline keyslots::KdfSpec cheap_argon(const std::string& type) {
  keyslots::KdfSpec kdf;
  kdf.type = type;
  kdf.iterations = 4;
  kdf.memory_kib = 1024;
  kdf.lanes = 2;
  return kdf;
}

inline keyslots::LuksFormatOptions cheap_options(unsigned version) {
  keyslots::LuksFormatOptions options;
  options.kdf = cheap_kdf();
  options.digest_seconds = 0;
  options.sector_bytes = version == 1 ? 512 : 4096;
  return options;
}

inline engine::Result<keyslots::FormattedVolume> format_luks(
    unsigned version, engine::BlockDevice& device, const keyslots::LuksFormatOptions& options,
    std::string_view secret) {
  const auto bytes = engine::as_bytes(secret);
  return version == 1 ? keyslots::format_luks1(device, options, bytes)
                      : keyslots::format_luks2(device, options, bytes);
}

// Whether the image opens with the passphrase, and with which plaintext.
inline bool opens_with(const OpenedVolume& volume) {
  return volume.plain != nullptr || volume.unlocked.has_value();
}

}  // namespace latchkey::test
