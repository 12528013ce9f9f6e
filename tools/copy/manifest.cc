#include "tools/copy/manifest.h"

#include <array>
#include <ctime>

#include <nlohmann/json.hpp>

#include "tools/digest_file.h"
#include "tools/new_file.h"

namespace latchkey::tools {

using engine::Result;

namespace {

using ManifestJson = nlohmann::ordered_json;

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

std::string manifest_json(const Manifest& manifest) {
  const CopyState& copy = manifest.copy;
  const ManifestJson json = {
      {"source",
       {{"image", copy.image},
        {"image_bytes", copy.image_bytes},
        {"container", manifest.container},
        {"what", copy.what},
        {"description", manifest.description}}},
      {"bytes", copy.bytes},
      {"sha256", text_or_null(manifest.outcome.sha256)},
      {"zero_bytes", manifest.outcome.zero_bytes},
      {"unreadable", ranges_json(manifest.outcome.unreadable)},
      {"copy",
       {{"path", manifest.out},
        {"format", copy.format},
        {"volume", text_or_null(manifest.volume)},
        {"encrypted", copy.encrypted},
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
