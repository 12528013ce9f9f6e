// latchkey key fetch: a key out of Key Vault, unwrapped where it is wrapped, into a file.
#include <cerrno>
#include <memory>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "engine/unique_fd.h"
#include "keyslots/keys/base64.h"
#include "keyslots/keys/bek_file.h"
#include "keyslots/keys/found_key.h"
#include "keyslots/keys/vault_content.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/key_options.h"
#include "tools/shell_quoted.h"
#include "tools/vault_client.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;
using keyslots::SecretContent;
using keyslots::VaultSecret;
using keyslots::VaultUrl;

namespace {

struct FetchOptions {
  std::string url;
  std::string output;
  std::string token_file;
  KeyOptions keys;
};

Result<VaultSecret> secret_in(const SecretBytes& bundle, const std::string& what) {
  auto secrets = keyslots::parse_vault_secrets(bundle.span());
  if (!secrets) return std::move(secrets).error();
  if (secrets->size() == 1) return std::move(secrets->front());
  return Error(ErrorCode::kSystem, what + ": what answered is not Key Vault")
      .with_hint("check the address");
}

// Base64url without padding, as unwrapkey wants it, whatever the secret is stored in. Ciphertext.
std::string as_base64url(const SecretBytes& value) {
  std::string text;
  for (const std::byte b : value.span()) {
    const char c = static_cast<char>(b);
    if (c == '+') {
      text += '-';
    } else if (c == '/') {
      text += '_';
    } else if (c != '=' && c > ' ') {
      text += c;
    }
  }
  return text;
}

Result<SecretContent> unwrap_by_vault(VaultClient& vault, const VaultUrl& at,
                                      const VaultSecret& secret) {
  const auto kek = keyslots::parse_vault_url(secret.kek_url);
  if (!kek || kek->collection != "keys") {
    return Error(ErrorCode::kKeyNeeded, "the secret is wrapped and names no KEK that the vault has")
        .with_hint("give the KEK's private half: --kek FILE");
  }
  if (!same_cloud(at, *kek)) {
    return Error(ErrorCode::kRefused,
                 fmt::format("its KEK is at {}: the token for {} is not sent there", kek->host,
                             at.host))
        .with_hint("give the KEK's private half: --kek FILE");
  }
  const auto algorithm = keyslots::wrap_algorithm(secret.algorithm);
  auto answer =
      vault.unwrap_key(*kek, algorithm ? secret.algorithm : "RSA-OAEP", as_base64url(secret.value));
  if (!answer) return std::move(answer).error();
  const auto unwrapped = secret_in(*answer, "key " + kek->name);
  if (!unwrapped) return unwrapped.error();
  auto content = keyslots::content_of(*unwrapped, "the vault's answer", {});
  if (content) content->how = ", unwrapped by the vault";
  return content;
}

Result<SecretContent> fetch(const FetchOptions& options, const VaultUrl& url) {
  auto kek = open_kek(options.keys);
  if (!kek) return std::move(kek).error();
  auto token = find_token(options.token_file, token_resource(url));
  if (!token) return std::move(token).error();
  VaultClient vault(std::move(*token), [](unsigned seconds, const std::string& why) {
    warn(fmt::format("{}: again in {} s", why, seconds));
  });
  auto bundle = vault.get_secret(url);
  if (!bundle) return std::move(bundle).error();
  const auto secret = secret_in(*bundle, "secret " + url.name);
  if (!secret) return secret.error();
  const auto decoded = keyslots::decode_base64_secret(secret->value.span());
  if (*kek == nullptr && decoded && keyslots::may_be_sent_to_vault(*secret, decoded->span())) {
    return unwrap_by_vault(vault, url, *secret);
  }
  return keyslots::content_of(*secret, "secret " + url.name, {.kek = kek->get()});
}

// A new file that only its owner may read; nothing is ever overwritten.
Result<void> write_new_file(const std::string& path, const SecretBytes& bytes) {
  const engine::UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0 && errno == EEXIST) {
    return Error(ErrorCode::kUsage, path + " exists already").with_hint("name another file");
  }
  if (file.get() < 0) return Error::system("cannot make " + path, errno);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = write(file.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return Error::system("cannot write " + path, errno);
    done += static_cast<std::size_t>(put);
  }
  if (fsync(file.get()) != 0 && errno != EINVAL)
    return Error::system("cannot write " + path, errno);
  return {};
}

Result<void> run_fetch(const FetchOptions& options) {
  const auto url = keyslots::parse_vault_url(options.url);
  if (!url || url->collection != "secrets") {
    return Error(ErrorCode::kUsage,
                 "'" + engine::printable(options.url) + "' is not the address of a secret")
        .with_hint("it looks like https://VAULT.vault.azure.net/secrets/NAME");
  }
  if (access(options.output.c_str(), F_OK) == 0) {
    return Error(ErrorCode::kUsage, options.output + " exists already")
        .with_hint("name another file");
  }
  const auto content = fetch(options, *url);
  if (!content) return content.error();
  if (auto done = write_new_file(options.output, content->bytes); !done) return done;
  const auto bek = keyslots::parse_bek(content->bytes.span());
  fmt::print("{}{} -> {}\n", bek ? "BEK " + bek->protector_id : "secret " + url->name, content->how,
             engine::printable(options.output));
  fmt::print("next: latchkey mount IMAGE DIR --key {}\n",
             engine::printable(shell_quoted(options.output)));
  return {};
}

}  // namespace

void add_key_fetch(CLI::App& key, int& exit_status) {
  auto options = std::make_shared<FetchOptions>();
  CLI::App* command = key.add_subcommand("fetch", "get a key out of Key Vault into a file");
  command->add_option("URL", options->url, "the secret: https://VAULT.vault.azure.net/secrets/NAME")
      ->required()
      ->type_name("");
  command->add_option("-o,--output", options->output, "the file to make; it must not exist")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--token-file", options->token_file,
                   "the first line of FILE is the vault's bearer token\n"
                   "(default: the variable LATCHKEY_VAULT_TOKEN, else `az\n"
                   "account get-access-token`)")
      ->type_name("FILE");
  add_kek_options(*command, options->keys);
  command->footer(
      "A wrapped secret is unwrapped by the vault, or with --kek here. FILE gets the BEK's bytes "
      "or\n"
      "the passphrase: what --key takes. Exit status: 1 the vault says no, 3 no token or the KEK\n"
      "does not fit, 5 the vault cannot be reached.");
  command->callback([options, &exit_status] {
    const auto done = run_fetch(*options);
    exit_status = done ? static_cast<int>(kDone) : fail(done.error());
  });
}

}  // namespace latchkey::tools
