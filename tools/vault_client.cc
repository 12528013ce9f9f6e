#include "tools/vault_client.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include <curl/curl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/bytes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;
using keyslots::VaultUrl;

namespace {

constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;
constexpr unsigned kMaxTries = 5;
constexpr unsigned kMaxWaitSeconds = 60;

struct FreeCurl {
  void operator()(CURL* curl) const noexcept { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};

struct Answer {
  long status = 0;
  SecretBytes body{kMaxAnswerBytes};
  std::size_t used = 0;
  unsigned retry_after_seconds = 0;
};

std::size_t take_body(const char* data, std::size_t size, std::size_t count, void* into) {
  auto* answer = static_cast<Answer*>(into);
  const std::size_t bytes = size * count;
  if (bytes > answer->body.size() - answer->used) return 0;  // which makes the transfer fail
  std::memcpy(answer->body.data() + answer->used, data, bytes);
  answer->used += bytes;
  return bytes;
}

// One exchange. An error: nothing came back.
Result<Answer> exchange(const std::string& url, const std::string& body, const SecretBytes& token) {
  const std::unique_ptr<CURL, FreeCurl> curl(curl_easy_init());
  if (!curl) return Error(ErrorCode::kSystem, "libcurl does not start");
  Answer answer;
  SecretBytes bearer(token.size() + 1);  // with an end
  std::memcpy(bearer.data(), token.data(), token.size());
  const std::unique_ptr<curl_slist, FreeCurl> headers(
      curl_slist_append(nullptr, "Content-Type: application/json"));
  char why[CURL_ERROR_SIZE] = "";
  const auto set = [&](CURLoption option, auto value) {
    (void)curl_easy_setopt(curl.get(), option, value);
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, url.starts_with("https:") ? "https" : "http");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, 30L);
  set(CURLOPT_TIMEOUT, 120L);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(why));
  set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
  set(CURLOPT_XOAUTH2_BEARER, reinterpret_cast<const char*>(bearer.data()));
  set(CURLOPT_WRITEFUNCTION, &take_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&answer));
  if (!body.empty()) {
    set(CURLOPT_HTTPHEADER, headers.get());
    set(CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    set(CURLOPT_POSTFIELDS, body.c_str());
  }
  if (const CURLcode failed = curl_easy_perform(curl.get()); failed != CURLE_OK) {
    return Error(ErrorCode::kSystem,
                 engine::printable(why[0] != '\0' ? why : curl_easy_strerror(failed)));
  }
  curl_off_t seconds = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  curl_easy_getinfo(curl.get(), CURLINFO_RETRY_AFTER, &seconds);
  answer.retry_after_seconds =
      static_cast<unsigned>(std::clamp<curl_off_t>(seconds, 0, kMaxWaitSeconds));
  answer.body.truncate(answer.used);
  return answer;
}

bool worth_a_retry(long status) {
  return status == 408 || status == 429 || (status >= 500 && status != 501);
}

// {"error": {"code": ..., "message": ...}}: what the vault says, in one line.
std::string vault_message(const SecretBytes& body) {
  const char* begin = reinterpret_cast<const char*>(body.data());
  const auto json = nlohmann::json::parse(begin, begin + body.size(), nullptr, false);
  constexpr std::size_t kMostCharacters = 300;
  if (!json.is_object() || !json.contains("error") || !json["error"].is_object()) return {};
  const auto text = json["error"].find("message");
  if (text == json["error"].end() || !text->is_string()) return {};
  return ": " + engine::printable(text->get<std::string>().substr(0, kMostCharacters));
}

Error refusal(const Answer& answer, const std::string& what) {
  const std::string said = vault_message(answer.body);
  switch (answer.status) {
    case 401:
      return Error(ErrorCode::kRefused,
                   fmt::format("{}: the vault does not accept the token (401){}", what, said))
          .with_hint(
              "it may have expired, or be for another tenant or resource: az login, then "
              "again");
    case 403:
      return Error(ErrorCode::kRefused,
                   fmt::format("{}: the account may not do that (403){}", what, said))
          .with_hint(
              "it needs the rights `get` on secrets and `unwrapKey` on keys, and the vault's "
              "firewall has to let this machine in");
    case 404:
      return Error(ErrorCode::kRefused, fmt::format("{}: there is none (404){}", what, said))
          .with_hint(
              "check the address; a deleted one can be brought back for some time: az "
              "keyvault secret list-deleted --vault-name V");
    case 429:
      return Error(ErrorCode::kSystem, fmt::format("{}: the vault is too busy, {} times (429){}",
                                                   what, kMaxTries, said))
          .with_hint("try again later");
    default:
      return Error(answer.status >= 500 ? ErrorCode::kSystem : ErrorCode::kRefused,
                   fmt::format("{}: the vault answered {}{}", what, answer.status, said))
          .with_hint(answer.status >= 500 ? "try again later" : "check the address");
  }
}

bool sends_safely(const VaultUrl& url) {
  return url.scheme == "https" || url.is_loopback();
}

Error unsafe(const VaultUrl& url) {
  return Error(ErrorCode::kUsage,
               fmt::format("{}: a token is sent by https only, except to this machine", url.text()))
      .with_hint("write https://");
}

}  // namespace

Result<SecretBytes> VaultClient::request(const std::string& url, const std::string& body,
                                         const std::string& what) {
  for (unsigned tried = 1;; ++tried) {
    auto answer = exchange(url, body, token_);
    if (!answer) return std::move(answer).error().within(what);
    if (answer->status == 200) return std::move(answer->body);
    if (!worth_a_retry(answer->status) || tried == kMaxTries) return refusal(*answer, what);
    const unsigned seconds =
        answer->retry_after_seconds > 0 ? answer->retry_after_seconds : 1U << (tried - 1);
    waits_(seconds, fmt::format("the vault answered {}", answer->status));
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
  }
}

Result<SecretBytes> VaultClient::get_secret(const VaultUrl& secret) {
  if (!sends_safely(secret)) return unsafe(secret);
  return request(fmt::format("{}?api-version={}", secret.text(), keyslots::kVaultApiVersion), "",
                 "secret " + secret.name);
}

Result<SecretBytes> VaultClient::unwrap_key(const VaultUrl& kek, const std::string& algorithm,
                                            const std::string& value) {
  if (!sends_safely(kek)) return unsafe(kek);
  const nlohmann::json body{{"alg", algorithm}, {"value", value}};
  return request(fmt::format("{}/unwrapkey?api-version={}", kek.text(), keyslots::kVaultApiVersion),
                 body.dump(), "key " + kek.name);
}

bool same_cloud(const VaultUrl& secret, const VaultUrl& kek) {
  if (secret.is_loopback() || kek.is_loopback()) {
    return secret.host == kek.host && secret.port == kek.port;
  }
  // A managed HSM wants a token of its own, which this one is not.
  return secret.domain() == kek.domain() && kek.domain().find('.') != std::string_view::npos;
}

}  // namespace latchkey::tools
