#include "tools/copy/copy_state.h"

#include <cerrno>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "engine/bytes.h"
#include "tools/new_file.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

using StateJson = nlohmann::ordered_json;

constexpr int kStateVersion = 1;
constexpr std::size_t kMaxStateBytes = 64 << 10;

}  // namespace

bool CopyState::same_copy(const CopyState& other) const {
  // Under which name the image is reached may change.
  return image_bytes == other.image_bytes && image_changed_ns == other.image_changed_ns &&
         what == other.what && bytes == other.bytes && format == other.format &&
         encrypted == other.encrypted;
}

std::string copy_state_file_of(const std::string& out) {
  return out + ".copying";
}

Result<std::optional<CopyState>> read_copy_state(const std::string& out) {
  const std::string path = copy_state_file_of(out);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) return std::optional<CopyState>();
    return Error::system("cannot open " + path, errno);
  }
  std::string text(kMaxStateBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  try {
    const StateJson json = StateJson::parse(text);
    CopyState state;
    if (json.at("version").get<int>() != kStateVersion) throw std::out_of_range("version");
    state.image = json.at("image").get<std::string>();
    state.image_bytes = json.at("image_bytes").get<std::uint64_t>();
    state.image_changed_ns = json.at("image_changed_ns").get<std::int64_t>();
    state.what = json.at("what").get<std::string>();
    state.bytes = json.at("bytes").get<std::uint64_t>();
    state.format = json.at("format").get<std::string>();
    state.encrypted = json.at("encrypted").get<bool>();
    state.made = json.at("made").get<bool>();
    state.copied_below = json.at("copied_below").get<std::uint64_t>();
    if (state.copied_below <= state.bytes) return std::optional(std::move(state));
  } catch (const std::exception&) {  // said below
  }
  return Error(ErrorCode::kDamaged, path + " is not what a copy leaves behind")
      .with_hint("remove it, and copy anew with --force");
}

Result<void> write_copy_state(const std::string& out, const CopyState& state) {
  const StateJson json = {{"version", kStateVersion},
                          {"image", state.image},
                          {"image_bytes", state.image_bytes},
                          {"image_changed_ns", state.image_changed_ns},
                          {"what", state.what},
                          {"bytes", state.bytes},
                          {"format", state.format},
                          {"encrypted", state.encrypted},
                          {"made", state.made},
                          {"copied_below", state.copied_below}};
  // A name need not be UTF-8, and need not come back as it was: it is for people.
  const std::string text = json.dump(2, ' ', true, StateJson::error_handler_t::replace) + "\n";
  return replace_file(copy_state_file_of(out), engine::as_bytes(text));
}

void remove_copy_state(const std::string& out) {
  (void)unlink(copy_state_file_of(out).c_str());
}

}  // namespace latchkey::tools
