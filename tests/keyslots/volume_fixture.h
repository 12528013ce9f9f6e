// Opening encrypted volumes in tests: from bytes or files to a plaintext, the way a command does
// it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/file_device.h"
#include "engine/memory_device.h"
#include "keyslots/unlock.h"
#include "keyslots/volume_header.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

inline keyslots::Secret passphrase(std::string_view text) {
  return {keyslots::SecretKind::kPassphrase, engine::SecretBytes::copy_of(engine::as_bytes(text)),
          "passphrase '" + std::string(text) + "'"};
}

inline keyslots::Secret key_file(const ByteVector& bytes) {
  return {keyslots::SecretKind::kKeyFile, engine::SecretBytes::copy_of(bytes), "key file"};
}

template <class... Secrets>
keyslots::KeyRing ring_of(Secrets&&... secrets) {
  auto fixed = std::make_unique<keyslots::FixedSecrets>();
  (fixed->add(std::forward<Secrets>(secrets)), ...);
  keyslots::KeyRing ring;
  ring.add(std::move(fixed));
  return ring;
}

inline engine::DevicePtr device_of(ByteVector bytes) {
  return std::make_shared<engine::MemoryDevice>(std::move(bytes));
}

inline engine::DevicePtr device_of(const std::filesystem::path& path) {
  engine::Notices notices;
  auto file = engine::FileDevice::open(path.string(), engine::Access::kReadOnly, notices);
  EXPECT_TRUE(file.ok()) << path << ": " << (file ? "" : file.error().message());
  return file ? engine::DevicePtr(*file) : device_of(ByteVector());
}

// read_file() goes byte by byte, which takes seconds for a volume under a sanitizer.
inline ByteVector bytes_of_file(const std::filesystem::path& path) {
  const auto device = device_of(path);
  ByteVector bytes(device->size_bytes());
  EXPECT_TRUE(device->read(0, bytes).ok());
  return bytes;
}

// A volume opened as far as it goes; what went wrong is in `error`.
struct OpenedVolume {
  keyslots::VolumeSource source;
  engine::Notices notices;
  std::unique_ptr<keyslots::VolumeHeader> header;
  std::optional<keyslots::UnlockedVolume> unlocked;  // moved from once `plain` is there
  std::string opened_by;
  std::string read_only_reason;
  engine::DevicePtr plain;
  std::optional<engine::Error> error;

  std::string message() const { return error ? error->message() : ""; }
};

inline OpenedVolume probe(keyslots::VolumeSource source) {
  OpenedVolume volume;
  volume.source = std::move(source);
  auto header = keyslots::probe_volume(volume.source, volume.notices);
  if (!header) {
    volume.error = std::move(header).error();
  } else {
    volume.header = std::move(*header);
  }
  return volume;
}

inline OpenedVolume open_volume(keyslots::VolumeSource source, const keyslots::KeyRing& ring,
                                const keyslots::UnlockOptions& options = {},
                                bool writable = false) {
  OpenedVolume volume = probe(std::move(source));
  if (volume.error || volume.header == nullptr) return volume;
  auto unlocked = keyslots::unlock_volume(*volume.header, ring, options);
  if (!unlocked) {
    volume.error = std::move(unlocked).error();
    return volume;
  }
  volume.opened_by = unlocked->opened_by;
  volume.read_only_reason = unlocked->read_only_reason;
  const bool has_payload = unlocked->map->size_bytes() > 0;
  if (!has_payload) {
    volume.unlocked = std::move(*unlocked);
    return volume;
  }
  auto plain = keyslots::plaintext_of(volume.source, std::move(*unlocked), writable);
  if (!plain) {
    volume.error = std::move(plain).error();
  } else {
    volume.plain = std::move(*plain);
  }
  return volume;
}

inline ByteVector all_bytes(engine::BlockDevice& device) {
  ByteVector bytes(device.size_bytes());
  EXPECT_TRUE(device.read(0, bytes).ok());
  return bytes;
}

// Comparing megabytes with EXPECT_EQ would print them.
inline ::testing::AssertionResult same_bytes(const ByteVector& actual, const ByteVector& expected) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << actual.size() << " bytes instead of " << expected.size();
  }
  if (actual.empty() || std::memcmp(actual.data(), expected.data(), actual.size()) == 0) {
    return ::testing::AssertionSuccess();
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] != expected[i]) return ::testing::AssertionFailure() << "differ at byte " << i;
  }
  return ::testing::AssertionSuccess();
}

inline bool has_notice(const engine::Notices& notices, std::string_view text) {
  for (const engine::Notice& notice : notices.items()) {
    if (notice.text.find(text) != std::string::npos) return true;
  }
  return false;
}

// The exit status of a shell command; its output stays in `log` of the folder.
inline int run_in(const TempDir& dir, const std::string& command) {
  const std::string whole = "cd '" + dir.path().string() + "' && { " + command + "; } >log 2>&1";
  const int status = std::system(whole.c_str());  // NOLINT(cert-env33-c): tests run fixed commands
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline std::string log_of(const TempDir& dir) {
  const ByteVector bytes = read_file(dir / "log");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Cheap key slots: what is tested is that they open, not how long that takes.
inline constexpr const char* kCheapPbkdf2 = " --pbkdf pbkdf2 --pbkdf-force-iterations 1000 ";
inline constexpr const char* kQuiet = " --batch-mode --disable-locks --key-file pw ";

}  // namespace latchkey::test
