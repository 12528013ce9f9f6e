#include "tools/copy/copy_names.h"

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include "tools/copy/copy_state.h"
#include "tools/copy/manifest.h"
#include "tools/digest_file.h"
#include "tools/same_storage.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Result<void> check_free(const std::string& name, bool earlier_may_go) {
  const std::string folder = std::filesystem::path(name).parent_path();
  if (access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) != 0) {
    return Error::system("cannot make " + name, errno);
  }
  // What an earlier copy said of itself goes with that copy; anything else stays.
  if (access(name.c_str(), F_OK) != 0) return {};
  if (earlier_may_go && !is_something_else(name)) return {};
  return Error(ErrorCode::kRefused, name + " exists already: it is not overwritten")
      .with_hint("move it away, or leave the manifest out with --no-manifest");
}

}  // namespace

Result<void> settle_names(CopyRequest& request) {
  const std::string& out = request.target.out;
  const bool file = kind_of_target(out) == TargetKind::kFile;
  if (!request.manifest) request.manifest_path.clear();
  if (request.manifest && request.manifest_path.empty() && file) {
    request.manifest_path = manifest_file_of(out);
  }
  std::vector<std::string> manifests;
  if (!request.manifest_path.empty()) {
    manifests.push_back(request.manifest_path);
    if (file) manifests.push_back(digest_file_of(out));
  }
  std::vector<std::string> written = manifests;
  written.push_back(out);
  if (file) written.push_back(copy_state_file_of(out));
  if (!request.key.generated.empty()) written.push_back(request.key.generated);
  std::vector<std::string> read = request.read_files;
  read.push_back(request.image);
  if (auto apart = check_apart(written, read); !apart) return apart;
  const bool earlier_may_go = request.target.force || request.target.resume;
  for (const std::string& name : manifests) {
    if (auto free = check_free(name, earlier_may_go); !free) return free;
  }
  return {};
}

}  // namespace latchkey::tools
