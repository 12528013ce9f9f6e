#include "tools/key_options.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include "engine/unique_fd.h"
#include "keyslots/keys/kek_file.h"
#include "keyslots/keys/key_file.h"
#include "keyslots/keys/pkcs11_kek.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"
#include "keyslots/keys/unknown_key.h"
#include "tools/exit_status.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

template <class Value>
CLI::Option* add_option(CLI::App& command, const char* name, Value& value, const char* what,
                        const char* text) {
  return command.add_option(name, value, what)->type_name(text)->group("Key options");
}

}  // namespace

void add_kek_options(CLI::App& command, KeyOptions& options) {
  auto* kek = add_option(command, "--kek", options.kek,
                         "the key-encryption key of a wrapped key: PEM, PKCS#8, PKCS#12, JWK,\n"
                         "or 'pkcs11:...' for one in an HSM",
                         "FILE");
  add_option(command, "--kek-passphrase-file", options.kek_passphrase_file,
             "the first line of FILE opens the --kek file", "FILE")
      ->needs(kek);
  add_option(command, "--pin-file", options.pin_file,
             "the first line of FILE is the PIN of the HSM", "FILE")
      ->needs(kek);
}

void add_kdf_limit_options(CLI::App& command, KeyOptions& options) {
  add_option(command, "--max-kdf-memory", options.max_kdf_memory,
             "most memory one key derivation may take, like 512M\n"
             "(default: the smaller of 4 GiB and half of RAM)",
             "SIZE");
  add_option(command, "--max-kdf-time", options.max_kdf_seconds,
             "most seconds one key derivation may take (default: 300)", "S");
}

void add_key_options(CLI::App& command, KeyOptions& options) {
  const auto add = [&command](const char* name, auto& value, const char* what, const char* text) {
    return add_option(command, name, value, what, text);
  };
  add("--key", options.keys,
      "a file that holds a key, or a folder of .BEK files; what kind\n"
      "it is gets found out (repeatable)",
      "FILE")
      ->allow_extra_args(false);  // one a --key: what follows may be the image
  add("--passphrase-file", options.passphrase_file,
      "the first line of FILE is the passphrase; - is standard input", "FILE");
  auto* key_file = add("--key-file", options.key_file, "every byte of FILE is the key", "FILE");
  add("--key-file-offset", options.key_file_offset, "skip N bytes of the key file", "N")
      ->needs(key_file);
  add("--key-file-size", options.key_file_bytes, "use N bytes of the key file", "N")
      ->needs(key_file);
  add_kek_options(command, options);
  add("--kek-unwrapped", options.kek_unwrapped, "what the vault's unwrapkey answered", "FILE");
  add("--header", options.header, "the volume's detached header, or a backup of it", "FILE");
  add("--keyslot", options.keyslot, "try only this keyslot", "N");
  add_kdf_limit_options(command, options);
}

namespace {

// What a KEK is opened with: out of the file that was named for it, or off the terminal.
keyslots::AskPassphrase asker(const std::string& file, const std::string& option, bool pin) {
  return [file, option, pin](const std::string& name) -> Result<engine::SecretBytes> {
    if (!file.empty()) {
      auto secret = keyslots::read_passphrase_file(file);
      if (!secret) return std::move(secret).error().within(option);
      return std::move(secret->bytes);
    }
    const std::string what = (pin ? "the PIN of token " : "the passphrase of ") + name;
    auto typed = ask_passphrase("Key-encryption key, " + engine::printable(what) + ": ");
    if (typed) return std::move(typed->bytes);
    return Error(typed.error().code(), what + " is needed, and was not given")
        .with_hint("give it with " + option + " FILE");
  };
}

// Adds what --key or --kek-unwrapped names.
Result<void> read_key_into(keyslots::FixedSecrets& secrets, const std::string& path,
                           const char* option, const keyslots::Unwrapping& unwrapping) {
  auto read = keyslots::read_unknown_key(path, unwrapping);
  if (!read) return std::move(read).error().within(option);
  for (const std::string& why : read->left_out) warn(std::string(option) + ": " + why);
  for (keyslots::Secret& secret : read->secrets) secrets.add(std::move(secret));
  return {};
}

// What is in the file and may not be meant to be. It is tried as it stands all the same.
void warn_of_slips(const keyslots::Secret& passphrase, const std::string& file) {
  const engine::Bytes text = passphrase.bytes.span();
  const std::string where = "--passphrase-file: " + engine::printable(file);
  if (const std::string slip = keyslots::slip_in_recovery_password(text); !slip.empty()) {
    warn(where + " is nearly a recovery password: " + slip);
  }
  if (keyslots::text_behind_mark(text)) {
    warn(where +
         " begins with a byte order mark, as an editor of Windows leaves one; it counts as part "
         "of the passphrase here, and --key FILE leaves it out");
  }
}

}  // namespace

std::vector<std::string> KeyOptions::files() const {
  std::vector<std::string> all = {passphrase_file, key_file,      kek_passphrase_file,
                                  pin_file,        kek_unwrapped, header};
  if (!keyslots::is_pkcs11_uri(kek)) all.push_back(kek);
  for (const std::string& key : keys) {
    all.push_back(key);
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(key, failed), end; !failed && entry != end;
         entry.increment(failed)) {
      all.push_back(entry->path().string());
    }
  }
  std::erase_if(all, [](const std::string& name) { return name.empty() || name == "-"; });
  return all;
}

Result<std::unique_ptr<keyslots::Kek>> open_kek(const KeyOptions& options) {
  if (options.kek.empty()) return std::unique_ptr<keyslots::Kek>();
  auto kek =
      keyslots::is_pkcs11_uri(options.kek)
          ? keyslots::open_pkcs11_kek(options.kek, asker(options.pin_file, "--pin-file", true))
          : keyslots::read_kek_file(
                options.kek, asker(options.kek_passphrase_file, "--kek-passphrase-file", false));
  if (!kek) return std::move(kek).error().within("--kek");
  return kek;
}

Result<keyslots::KeyRing> read_secrets(const KeyOptions& options) {
  auto secrets = std::make_unique<keyslots::FixedSecrets>();
  auto kek = open_kek(options);
  if (!kek) return std::move(kek).error();
  const keyslots::Unwrapping unwrapping{.kek = kek->get(),
                                        .done_elsewhere = !options.kek_unwrapped.empty()};
  if (!options.kek_unwrapped.empty()) {
    auto done = read_key_into(*secrets, options.kek_unwrapped, "--kek-unwrapped", {});
    if (!done) return std::move(done).error();
  }
  for (const std::string& path : options.keys) {
    auto done = read_key_into(*secrets, path, "--key", unwrapping);
    if (!done) return std::move(done).error();
  }
  if (!options.passphrase_file.empty()) {
    auto secret = keyslots::read_passphrase_file(options.passphrase_file);
    if (!secret) return std::move(secret).error().within("--passphrase-file");
    warn_of_slips(*secret, options.passphrase_file);
    for (keyslots::Secret& reading : keyslots::passphrase_readings(std::move(*secret))) {
      secrets->add(std::move(reading));
    }
  }
  if (!options.key_file.empty()) {
    auto secret =
        keyslots::read_key_file(options.key_file, options.key_file_offset, options.key_file_bytes);
    if (!secret) return std::move(secret).error().within("--key-file");
    secrets->add(std::move(*secret));
  }
  keyslots::KeyRing ring;
  if (!secrets->empty()) ring.add(std::move(secrets));
  return ring;
}

Result<keyslots::UnlockOptions> unlock_options(const KeyOptions& options) {
  keyslots::UnlockOptions unlock;
  unlock.only_protector = options.keyslot;
  if (!options.max_kdf_memory.empty()) {
    const auto size = parse_size(options.max_kdf_memory);
    if (!size) {
      return Error(ErrorCode::kUsage,
                   "--max-kdf-memory: '" + options.max_kdf_memory + "' is not a size")
          .with_hint("write it like 512M or 4G");
    }
    unlock.limits.memory_bytes = *size;
  }
  if (options.max_kdf_seconds) {
    if (!(*options.max_kdf_seconds > 0)) {
      return Error(ErrorCode::kUsage, "--max-kdf-time must be more than 0 seconds");
    }
    unlock.limits.seconds = *options.max_kdf_seconds;
  }
  return unlock;
}

namespace {

volatile std::sig_atomic_t caught_signal = 0;

// The terminal with its echo off. A signal that would end or stop the process meanwhile interrupts
// the read and is raised again once the echo is back.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) : fd_(fd) {
    caught_signal = 0;
    struct sigaction remember {};
    remember.sa_handler = [](int signal) { caught_signal = signal; };
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &remember, &before_actions_[i]);
    }
    if (tcgetattr(fd_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= ICANON | ECHONL;
    changed_ = tcsetattr(fd_, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (changed_) tcsetattr(fd_, TCSAFLUSH, &before_);
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &before_actions_[i], nullptr);
    }
    if (caught_signal != 0) {
      (void)!write(fd_, "\n", 1);
      (void)raise(caught_signal);
    }
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
  const int fd_;
  termios before_{};
  std::array<struct sigaction, kSignals.size()> before_actions_{};
  bool changed_ = false;
};

// What was typed, with the line end; 0: control-D; negative: there is nobody to ask.
ssize_t read_line(int fd, const std::string& prompt, engine::SecretBytes& line) {
  while (true) {
    ssize_t got = 0;
    {
      const QuietTerminal quiet(fd);
      (void)!write(fd, prompt.data(), prompt.size());
      do {
        got = read(fd, line.data(), line.size());
      } while (got < 0 && errno == EINTR && caught_signal == 0);
      if (got == 0) (void)!write(fd, "\n", 1);
    }
    // Stopped by control-Z, and here again: so the question is still open.
    if (got < 0 && caught_signal == SIGTSTP) continue;
    return got;
  }
}

}  // namespace

Result<keyslots::Secret> ask_passphrase(const std::string& prompt) {
  const auto no_terminal = [] {
    return Error(ErrorCode::kKeyNeeded, "a key is needed, none was given, and there is no terminal")
        .with_hint("give --key FILE, --passphrase-file FILE or --key-file FILE");
  };
  const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return no_terminal();
  constexpr std::size_t kMaxPassphraseBytes = 512;
  engine::SecretBytes line(kMaxPassphraseBytes + 2);
  const ssize_t got = read_line(fd, prompt, line);
  close(fd);
  if (got < 0) return no_terminal();
  line.truncate(static_cast<std::size_t>(got));
  if (!line.empty() && line.data()[line.size() - 1] == std::byte{'\n'}) {
    line.truncate(line.size() - 1);
  } else if (line.size() > kMaxPassphraseBytes) {
    return Error(ErrorCode::kUsage, "the passphrase is longer than 512 bytes")
        .with_hint("put it in a file: --passphrase-file FILE");
  }
  if (line.empty()) {
    return Error(ErrorCode::kKeyNeeded, "no passphrase was given")
        .with_hint("type it, or give --key FILE, --passphrase-file FILE or --key-file FILE");
  }
  return keyslots::Secret{keyslots::SecretKind::kPassphrase, std::move(line), "passphrase"};
}

Result<TypedKey> ask_key(const std::string& prompt) {
  auto secret = ask_passphrase(prompt);
  if (!secret) return std::move(secret).error();
  TypedKey typed;
  typed.slip = keyslots::slip_in_recovery_password(secret->bytes.span());
  auto source = std::make_unique<keyslots::FixedSecrets>();
  for (keyslots::Secret& reading : keyslots::passphrase_readings(std::move(*secret))) {
    source->add(std::move(reading));
  }
  typed.ring.add(std::move(source));
  return typed;
}

void tell_nothing_opened(const TypedKey& key, int attempt) {
  if (!key.slip.empty()) {
    fmt::print(stderr, "this is nearly a recovery password: {}\n", key.slip);
  } else if (attempt < kPassphraseTries) {
    fmt::print(stderr, "nothing takes this passphrase\n");
  }
}

Result<bool> ask_yes(const std::string& prompt) {
  const engine::UniqueFd fd(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (fd.get() < 0) {
    return Error(ErrorCode::kRefused, "there is no terminal to ask on: nothing was changed")
        .with_hint("say --yes");
  }
  (void)!write(fd.get(), prompt.data(), prompt.size());
  std::array<char, 64> line{};
  ssize_t got = 0;
  do {
    got = read(fd.get(), line.data(), line.size());
  } while (got < 0 && errno == EINTR);
  return got > 0 && std::string_view(line.data(), static_cast<std::size_t>(got)) == "yes\n";
}

}  // namespace latchkey::tools
