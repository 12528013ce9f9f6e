// OUT.copying: what lies beside a copy that is not finished, so that it can be gone on with. JSON,
// mode 0600, no secrets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/result.h"
#include "engine/unique_fd.h"

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
  std::string volume;  // how it is encrypted: "luks2 aes-xts-plain64 512"; empty: not at all
  bool made = false;   // OUT is what it should be, and only lacks data
  // Everything below this was written, and synced, before this was.
  std::uint64_t copied_below = 0;

  bool same_copy(const CopyState& other) const;
};

std::string copy_state_file_of(const std::string& out);

// The file, locked for as long as this lives: two copies to one OUT would be the end of both.
class CopyMark {
 public:
  explicit CopyMark(std::string out) : out_(std::move(out)) {}

  // What stands there; empty where there is no such file. Errors: kRefused (another process copies
  // to it now), kDamaged (it is locked all the same), kSystem.
  engine::Result<std::optional<CopyState>> open();
  // Synced, in place of the one before: a power cut leaves one of the two. The first one of a file
  // that was not there is kRefused where there is one now.
  engine::Result<void> write(const CopyState& state);
  bool there() const noexcept { return lock_.get() >= 0; }
  void remove();

 private:
  const std::string out_;
  engine::UniqueFd lock_;  // of the file that has the name
};

}  // namespace latchkey::tools
