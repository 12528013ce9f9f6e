#include "tools/digest_file.h"

#include <array>
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

constexpr std::size_t kDigestBytes = 32;

Result<std::string> hex_digest(Bytes bytes) {
  auto digest = keyslots::Digest::find("sha256");
  if (!digest) return std::move(digest).error();
  std::array<std::byte, kDigestBytes> sum{};
  if (!keyslots::Hasher(*digest).hash({bytes}, sum)) {
    return Error(ErrorCode::kSystem, "computing a digest failed inside OpenSSL");
  }
  std::string text;
  for (const std::byte byte : sum) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

}  // namespace

std::string digest_file_of(const std::string& path) {
  return path + ".sha256";
}

Result<void> write_digest_file(const std::string& path, Bytes bytes) {
  const auto digest = hex_digest(bytes);
  if (!digest) return digest.error();
  const std::string line = *digest + "  " + std::filesystem::path(path).filename().string() + "\n";
  return write_new_file(digest_file_of(path), engine::as_bytes(line));
}

Result<void> check_digest_file(const std::string& path, Bytes bytes) {
  std::ifstream file(digest_file_of(path));
  if (!file) return {};
  std::string wanted;
  file >> wanted;
  const auto digest = hex_digest(bytes);
  if (!digest) return digest.error();
  if (*digest == wanted) return {};
  return Error(ErrorCode::kDamaged, fmt::format("{} is not what {} says it is: it has changed",
                                                path, digest_file_of(path)));
}

}  // namespace latchkey::tools
