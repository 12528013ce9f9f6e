#include "keyslots/keys/vault_url.h"

#include <algorithm>

#include <fmt/format.h>

namespace latchkey::keyslots {
namespace {

bool is_name(std::string_view text, std::string_view also = "") {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           also.find(c) != std::string_view::npos;
  });
}

// The text up to `end`, which is taken off with it; all of it where `end` does not occur.
std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

}  // namespace

bool VaultUrl::is_loopback() const {
  return host == "127.0.0.1" || host == "localhost";
}

std::string_view VaultUrl::domain() const {
  const std::size_t dot = host.find('.');
  return dot == std::string::npos ? std::string_view(host) : std::string_view(host).substr(dot + 1);
}

std::string VaultUrl::text() const {
  std::string text = fmt::format("{}://{}{}{}/{}/{}", scheme, host, port.empty() ? "" : ":", port,
                                 collection, name);
  if (!version.empty()) text += "/" + version;
  return text;
}

std::optional<VaultUrl> parse_vault_url(std::string_view text) {
  constexpr std::size_t kMaxLength = 1024;
  if (text.size() > kMaxLength) return std::nullopt;
  VaultUrl url;
  for (const char* scheme : {"https", "http"}) {
    const std::string prefix = std::string(scheme) + "://";
    if (!text.starts_with(prefix)) continue;
    url.scheme = scheme;
    text.remove_prefix(prefix.size());
    break;
  }
  if (url.scheme.empty()) return std::nullopt;
  text = text.substr(0, std::min(text.find_first_of("?#"), text.size()));
  std::string_view authority = take_until(text, '/');
  url.host = take_until(authority, ':');
  std::transform(url.host.begin(), url.host.end(), url.host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  url.port = authority;
  if (url.port == (url.scheme == "https" ? "443" : "80")) url.port.clear();
  const bool port_is_number =
      url.port.size() <= 5 &&
      std::all_of(url.port.begin(), url.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  url.collection = take_until(text, '/');
  url.name = take_until(text, '/');
  url.version = take_until(text, '/');
  const bool known = url.collection == "secrets" || url.collection == "keys";
  if (!known || !text.empty() || !port_is_number || !is_name(url.host, ".") || !is_name(url.name) ||
      (!url.version.empty() && !is_name(url.version))) {
    return std::nullopt;
  }
  return url;
}

std::string token_resource(const VaultUrl& url) {
  for (const char* domain :
       {"vault.usgovcloudapi.net", "vault.azure.cn", "vault.microsoftazure.de",
        "managedhsm.azure.net", "managedhsm.usgovcloudapi.net", "managedhsm.azure.cn"}) {
    if (url.domain() == domain) return std::string("https://") + domain;
  }
  return "https://vault.azure.net";
}

}  // namespace latchkey::keyslots
