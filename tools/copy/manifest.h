// What a finished copy says of itself: OUT.json for programs, and OUT.sha256 for sha256sum -c.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/result.h"
#include "tools/copy/copy_job.h"
#include "tools/copy/copy_state.h"

namespace latchkey::tools {

struct Manifest {
  CopyState copy;
  std::string container;              // of the image
  std::string description;            // "ext4 inside LUKS2"
  std::vector<std::string> locked;    // regions whose ciphertext was copied: "p2"
  std::vector<std::string> warnings;  // what is wrong with the image
  std::string out;
  std::string volume;  // that was made: "LUKS2 ..."; else empty
  CopyOutcome outcome;
  std::optional<std::uint64_t> file_bytes;  // of OUT, where it is a file
  std::string file_sha256;                  // of OUT as it lies there; empty: not computed
  bool verified = false;
  bool resumed = false;
  std::string began;  // "2026-01-31T12:00:00Z"
  std::string ended;
};

// Is `path` there, and not the manifest or digest file of an earlier copy?
bool is_something_else(const std::string& path);
// Those of an earlier copy say nothing of this one.
void remove_old_manifest(const std::string& manifest_path, const std::string& out);

std::string manifest_file_of(const std::string& out);
std::string utc_now();

// JSON into `path`, and OUT.sha256 where the file's digest is known.
engine::Result<void> write_manifest(const std::string& path, const Manifest& manifest);

}  // namespace latchkey::tools
