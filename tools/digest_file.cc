#include "tools/digest_file.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "keyslots/digest.h"
#include "tools/new_file.h"

namespace latchkey::tools {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

Result<std::string> hex_digest(Bytes bytes) {
  auto digest = keyslots::Digest::find("sha256");
  if (!digest) return std::move(digest).error();
  keyslots::RunningHash hash(*digest);
  std::string text = hash.add(bytes) ? hash.hex() : "";
  if (!text.empty()) return text;
  return Error(ErrorCode::kSystem, "computing a digest failed inside OpenSSL");
}

}  // namespace

std::string digest_file_of(const std::string& path) {
  return path + ".sha256";
}

std::string digest_line(const std::string& hex, const std::string& path) {
  std::string name;
  bool escaped = false;
  for (const char c : std::filesystem::path(path).filename().string()) {
    escaped = escaped || c == '\\' || c == '\n';
    name += c == '\\' ? "\\\\" : c == '\n' ? "\\n" : std::string(1, c);
  }
  return (escaped ? "\\" : "") + hex + "  " + name + "\n";
}

Result<void> write_digest_file(const std::string& path, Bytes bytes) {
  const auto digest = hex_digest(bytes);
  if (!digest) return digest.error();
  return write_new_file(digest_file_of(path), engine::as_bytes(digest_line(*digest, path)));
}

Result<void> check_digest_file(const std::string& path, Bytes bytes) {
  std::ifstream file(digest_file_of(path));
  if (!file) return {};
  std::string wanted;
  file >> wanted;
  if (wanted.starts_with('\\')) wanted.erase(0, 1);  // of a name that is escaped
  const auto digest = hex_digest(bytes);
  if (!digest) return digest.error();
  if (*digest == wanted) return {};
  return Error(ErrorCode::kDamaged, fmt::format("{} is not what {} says it is: it has changed",
                                                path, digest_file_of(path)));
}

}  // namespace latchkey::tools
