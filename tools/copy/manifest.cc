#include "tools/copy/manifest.h"

#include <array>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tools/digest_file.h"
#include "tools/new_file.h"

namespace latchkey::tools {

using engine::Result;

namespace {

using ManifestJson = nlohmann::ordered_json;

constexpr std::uintmax_t kMostManifestBytes = 64 << 20;

ManifestJson text_or_null(const std::string& text) {
  return text.empty() ? ManifestJson(nullptr) : ManifestJson(text);
}

ManifestJson ranges_json(const std::vector<ByteRange>& ranges) {
  ManifestJson list = ManifestJson::array();
  for (const ByteRange& range : ranges) {
    list.push_back({{"offset", range.offset}, {"length", range.length}});
  }
  return list;
}

// As sha256sum writes it.
bool is_digest_line(std::string_view text) {
  constexpr std::size_t kHexDigits = 64;
  if (text.starts_with('\\')) text.remove_prefix(1);
  return text.size() > kHexDigits + 2 && text.substr(kHexDigits, 2) == "  " &&
         text.find_first_not_of("0123456789abcdef") == kHexDigits;
}

std::string manifest_json(const Manifest& manifest) {
  const CopyState& copy = manifest.copy;
  const ManifestJson json = {
      {"source",
       {{"image", copy.image},
        {"image_bytes",
         copy.image_bytes > 0 ? ManifestJson(copy.image_bytes) : ManifestJson(nullptr)},
        {"container", manifest.container},
        {"what", copy.what},
        {"description", manifest.description},
        {"locked", manifest.locked},
        {"warnings", manifest.warnings}}},
      {"bytes", copy.bytes},
      {"sha256", text_or_null(manifest.outcome.sha256)},
      {"zero_bytes", manifest.outcome.zero_bytes},
      {"unreadable", ranges_json(manifest.outcome.unreadable)},
      {"copy",
       {{"path", manifest.out},
        {"format", copy.format},
        {"volume", text_or_null(manifest.volume)},
        {"encrypted", !copy.volume.empty()},
        {"file_bytes",
         manifest.file_bytes ? ManifestJson(*manifest.file_bytes) : ManifestJson(nullptr)},
        {"file_sha256", text_or_null(manifest.file_sha256)}}},
      {"verified", manifest.verified},
      {"resumed", manifest.resumed},
      {"began", manifest.began},
      {"ended", manifest.ended}};
  return json.dump(2, ' ', true, ManifestJson::error_handler_t::replace) + "\n";
}

}  // namespace

std::string manifest_file_of(const std::string& out) {
  return out + ".json";
}

bool is_something_else(const std::string& path) {
  std::error_code failed;
  const auto status = std::filesystem::symlink_status(path, failed);
  if (!std::filesystem::exists(status)) return false;
  if (!std::filesystem::is_regular_file(status)) return true;
  if (std::filesystem::file_size(path, failed) > kMostManifestBytes || failed) return true;
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (is_digest_line(text)) return false;
  const ManifestJson json = ManifestJson::parse(text, nullptr, false);
  return !(json.is_object() && json.contains("source") && json.contains("unreadable") &&
           json.contains("copy"));
}

void remove_old_manifest(const std::string& manifest_path, const std::string& out) {
  for (const std::string& path : {manifest_path, digest_file_of(out)}) {
    if (!path.empty() && !is_something_else(path)) (void)unlink(path.c_str());
  }
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), length};
}

Result<void> write_manifest(const std::string& path, const Manifest& manifest) {
  const std::string json = manifest_json(manifest);
  if (auto done = replace_file(path, engine::as_bytes(json)); !done) return done;
  if (manifest.file_sha256.empty()) return {};
  const std::string line = digest_line(manifest.file_sha256, manifest.out);
  return replace_file(digest_file_of(manifest.out), engine::as_bytes(line));
}

}  // namespace latchkey::tools
