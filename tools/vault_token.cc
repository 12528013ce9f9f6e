#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/unique_fd.h"
#include "keyslots/keys/key_file.h"
#include "tools/vault_client.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

constexpr std::size_t kMaxTokenBytes = std::size_t{64} * 1024;
constexpr const char* kVariable = "LATCHKEY_VAULT_TOKEN";

// All that comes out of a pipe, up to the size of a token.
SecretBytes read_all(int fd) {
  SecretBytes bytes(kMaxTokenBytes);
  std::size_t used = 0;
  while (used < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    used += static_cast<std::size_t>(got);
  }
  bytes.truncate(used);
  return bytes;
}

void drop_line_end(SecretBytes& token) {
  std::size_t size = token.size();
  while (size > 0 &&
         (token.data()[size - 1] == std::byte{'\n'} || token.data()[size - 1] == std::byte{'\r'})) {
    --size;
  }
  token.truncate(size);
}

Error no_token() {
  return Error(ErrorCode::kKeyNeeded, "a token for the vault is needed, and there is none")
      .with_hint(
          fmt::format("az login, or give one: --token-file FILE, or the variable {}", kVariable));
}

// The Azure CLI, which keeps the account's sign-in. What it says of trouble goes to our stderr.
Result<SecretBytes> token_of_az(const std::string& resource) {
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error::system("cannot make a pipe", errno);
  const engine::UniqueFd from(ends[0]);
  engine::UniqueFd into(ends[1]);
  std::array<const char*, 10> argv{
      "az",      "account",     "get-access-token", "--resource", resource.c_str(),
      "--query", "accessToken", "--output",         "tsv",        nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, into.get(), STDOUT_FILENO);
  pid_t child = -1;
  const int failed =
      posix_spawnp(&child, "az", &files, nullptr, const_cast<char* const*>(argv.data()), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed == ENOENT) return no_token();
  if (failed != 0) return Error::system("cannot run az", failed);
  into = engine::UniqueFd();
  SecretBytes token = read_all(from.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  drop_line_end(token);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || token.empty()) {
    return Error(ErrorCode::kKeyNeeded, "az gives no token for " + resource)
        .with_hint(fmt::format("az login; or --token-file FILE, or the variable {}", kVariable));
  }
  return token;
}

}  // namespace

Result<SecretBytes> find_token(const std::string& token_file, const std::string& resource) {
  if (!token_file.empty()) {
    auto token = keyslots::read_passphrase_file(token_file);
    if (!token) return std::move(token).error().within("--token-file");
    return std::move(token->bytes);
  }
  if (const char* given = std::getenv(kVariable); given != nullptr && given[0] != '\0') {
    return SecretBytes::copy_of(std::as_bytes(std::span(given, std::strlen(given))));
  }
  return token_of_az(resource);
}

}  // namespace latchkey::tools
