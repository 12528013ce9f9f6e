// OUT.copying: what lies beside a copy that is not finished, so that it can be gone on with. JSON,
// mode 0600, no secrets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/result.h"

namespace latchkey::tools {

struct CopyState {
  // Of the image: another one must not be gone on with.
  std::string image;
  std::uint64_t image_bytes = 0;
  std::int64_t image_changed_ns = 0;  // its modification time, since 1970
  std::string what;                   // the export: "disk", "p1"
  std::uint64_t bytes = 0;            // of the plaintext
  // Of OUT.
  std::string format;
  bool encrypted = false;
  bool made = false;  // OUT is what it should be, and only lacks data
  // Everything below this was written, and synced, before this was.
  std::uint64_t copied_below = 0;

  bool same_copy(const CopyState& other) const;
};

std::string copy_state_file_of(const std::string& out);

// Empty where there is none. Errors: kDamaged, kSystem.
engine::Result<std::optional<CopyState>> read_copy_state(const std::string& out);

// In place of the one before: a power cut leaves one of the two.
engine::Result<void> write_copy_state(const std::string& out, const CopyState& state);

void remove_copy_state(const std::string& out);

}  // namespace latchkey::tools
