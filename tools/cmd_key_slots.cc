// latchkey key list, add, remove, change, set, test, enroll-recovery: the keys of a LUKS volume.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "keyslots/keys/recovery_passphrase.h"
#include "keyslots/luks/luks_keyslots.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/luks_target.h"
#include "tools/new_key_options.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using keyslots::LuksKeyslots;

namespace {

struct SlotOptions {
  TargetOptions target;
  KeyOptions keys;
  NewKeyOptions new_key;
  KdfOptions kdf;
  std::optional<unsigned> slot;
  std::string priority;
  std::optional<std::string> label;
  bool force = false;
  bool unused = false;
  bool json = false;
};

// A volume that was opened with an old key, about to be changed.
struct Opened {
  LuksTarget target;
  keyslots::KeyRing ring;  // what opened it
  keyslots::OpenedKeys keys;
  std::unique_ptr<LuksKeyslots> slots;

  const engine::SecretBytes& volume_key() const { return keys.keys.front(); }
  unsigned by() const { return keys.opened.front(); }
};

Result<std::unique_ptr<LuksKeyslots>> slots_of(const LuksTarget& target) {
  auto slots = keyslots::open_luks_keyslots(*target.header_device);
  if (!slots) return std::move(slots).error().within(target.name());
  return slots;
}

Result<Opened> open_for_change(const SlotOptions& options) {
  auto target = find_luks_target(options.target, options.keys.header, TargetUse::kWrite);
  if (!target) return std::move(target).error();
  auto slots = slots_of(*target);
  if (!slots) return std::move(slots).error();
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return unlock.error();
  keyslots::KeyRing ring;
  auto keys = open_target(*target, options.keys, *unlock, &ring);
  if (!keys) return std::move(keys).error().within(target->name());
  return Opened{std::move(*target), std::move(ring), std::move(*keys), std::move(*slots)};
}

Result<keyslots::KdfSpec> cost_of(const SlotOptions& options, const LuksKeyslots& slots) {
  auto wish = kdf_wish(options.kdf, slots.required_hash());
  if (!wish) return std::move(wish).error();
  return keyslots::choose_kdf_cost(*wish, slots.key_bytes());
}

// list ------------------------------------------------------------------------------------------

const char* priority_name(int priority) {
  return priority == 0 ? "only when named" : priority == 2 ? "first" : "normal";
}

std::string list_json(const LuksTarget& target, const std::vector<keyslots::LuksToken>& tokens) {
  nlohmann::ordered_json slots = nlohmann::ordered_json::array();
  for (const keyslots::Protector& one : target.header().protectors()) {
    slots.push_back({{"keyslot", one.number},
                     {"description", one.description},
                     {"priority", one.priority},
                     {"unusable", one.unusable}});
  }
  nlohmann::ordered_json token_list = nlohmann::ordered_json::array();
  for (const keyslots::LuksToken& token : tokens) {
    token_list.push_back({{"token", token.id}, {"type", token.type}, {"keyslots", token.keyslots}});
  }
  const keyslots::VolumeFacts& facts = target.header().facts();
  return nlohmann::ordered_json{{"format", facts.format},
                                {"uuid", facts.uuid},
                                {"label", facts.label},
                                {"keyslots", std::move(slots)},
                                {"tokens", std::move(token_list)}}
             .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string list_text(const LuksTarget& target, const std::vector<keyslots::LuksToken>& tokens) {
  const keyslots::VolumeFacts& facts = target.header().facts();
  std::string text = fmt::format("{} {}{}\n", facts.format, facts.uuid,
                                 facts.label.empty() ? "" : " \"" + facts.label + "\"");
  for (const keyslots::Protector& one : target.header().protectors()) {
    text += fmt::format("keyslot {:<3} {}", one.number, one.description);
    if (one.priority != 1) text += fmt::format(", tried {}", priority_name(one.priority));
    if (!one.unusable.empty()) text += ", cannot be used: " + one.unusable;
    text += "\n";
  }
  for (const keyslots::LuksToken& token : tokens) {
    text += fmt::format("token {:<5} {}, for keyslot{} {}\n", token.id, token.type,
                        token.keyslots.size() == 1 ? "" : "s", fmt::join(token.keyslots, ", "));
  }
  return text;
}

Result<void> list(const SlotOptions& options) {
  const auto target = find_luks_target(options.target, options.keys.header, TargetUse::kRead);
  if (!target) return target.error();
  const auto tokens = keyslots::luks_tokens(*target->header_device);
  fmt::print("{}", options.json ? list_json(*target, tokens) : list_text(*target, tokens));
  return {};
}

// add -------------------------------------------------------------------------------------------

Result<int> priority_of(const std::string& text) {
  if (text.empty() || text == "normal") return 1;
  if (text == "first") return 2;
  if (text == "named") return 0;
  return Error(ErrorCode::kUsage, "--priority: '" + text + "' is not first, normal or named");
}

// A key file that was made for a slot which was refused. After a failed write the new slot may be
// there all the same: its key is kept then.
void drop_unused_key(const SlotOptions& options, const Error& why) {
  const bool nothing_written = why.code() == ErrorCode::kRefused ||
                               why.code() == ErrorCode::kUsage ||
                               why.code() == ErrorCode::kNotSupported;
  const std::string& made = options.new_key.generated;
  if (nothing_written && !made.empty()) (void)unlink(made.c_str());
}

Result<void> add(const SlotOptions& options) {
  const auto priority = priority_of(options.priority);
  if (!priority) return priority.error();
  auto opened = open_for_change(options);
  if (!opened) return std::move(opened).error();
  LuksKeyslots& slots = *opened->slots;
  if (*priority != 1 && slots.version() == 1) {
    return Error(ErrorCode::kNotSupported, "--priority: luks1 has no priorities");
  }
  const auto cost = cost_of(options, slots);
  if (!cost) return cost.error();
  const auto secret = read_new_key(options.new_key, "--new-", opened->target.name());
  if (!secret) return secret.error();
  const auto slot = slots.add(opened->volume_key(), secret->bytes.span(), *cost, options.slot);
  if (!slot) {
    drop_unused_key(options, slot.error());
    return slot.error();
  }
  if (*priority != 1) {
    if (auto done = slots.set_priority(*slot, *priority); !done) return done;
  }
  fmt::print("the new key is in keyslot {}: {}\n", *slot, cost->describe());
  return {};
}

Result<void> check_in_use(const LuksKeyslots& slots, unsigned slot) {
  const auto in_use = slots.in_use();
  if (std::find(in_use.begin(), in_use.end(), slot) != in_use.end()) return {};
  return Error(ErrorCode::kUsage, fmt::format("keyslot {} is not in use", slot));
}

// remove ----------------------------------------------------------------------------------------

// Somebody who removes a slot by its number shows a key that stays.
Result<void> prove_another_key(const SlotOptions& options, const Opened& volume, unsigned going) {
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return unlock.error();
  for (const keyslots::Protector& one : volume.target.header().protectors()) {
    if (one.number == going || !one.unusable.empty()) continue;
    keyslots::UnlockOptions only = *unlock;
    only.only_protector = one.number;
    auto opened = keyslots::find_keys(volume.target.header(), volume.ring, only);
    if (opened) return {};
    if (opened.error().code() != ErrorCode::kWrongKey) return std::move(opened).error();
  }
  return Error(ErrorCode::kRefused,
               fmt::format("the key opens keyslot {} and no other: once that is removed, it opens "
                           "nothing",
                           going))
      .with_hint("give a key that stays, or leave out --slot to remove the slot of the key");
}

// No key is needed: nothing that opens the volume is touched.
Result<void> destroy_unused(const SlotOptions& options) {
  auto target = find_luks_target(options.target, options.keys.header, TargetUse::kWrite);
  if (!target) return std::move(target).error();
  // Where the data is may be what is not understood.
  if (const std::string& why = target->header().facts().unusable; !why.empty()) {
    return Error(ErrorCode::kNotSupported, why).within(target->name());
  }
  auto slots = slots_of(*target);
  if (!slots) return std::move(slots).error();
  auto destroyed = (*slots)->destroy_unused();
  if (!destroyed) return std::move(destroyed).error();
  fmt::print("overwritten: {} that no key slot uses\n", human_size(*destroyed));
  return {};
}

Result<void> remove(const SlotOptions& options) {
  if (options.unused) return destroy_unused(options);
  auto opened = open_for_change(options);
  if (!opened) return std::move(opened).error();
  LuksKeyslots& slots = *opened->slots;
  const unsigned going = options.slot.value_or(opened->by());
  if (auto used = check_in_use(slots, going); !used) {
    return std::move(used).error().with_hint(
        "what a removal left that was cut short: latchkey key remove --unused");
  }
  const auto protectors = opened->target.header().protectors();
  const bool is_last = std::none_of(
      protectors.begin(), protectors.end(),
      [&](const keyslots::Protector& one) { return one.number != going && one.unusable.empty(); });
  if (is_last && !options.force) {
    return Error(ErrorCode::kRefused,
                 fmt::format("keyslot {} is the last key of {}: without it the data is lost for "
                             "good",
                             going, opened->target.name()))
        .with_hint("add another key first, or say --force");
  }
  if (!is_last && options.slot && opened->by() == going) {
    if (auto proven = prove_another_key(options, *opened, going); !proven) return proven;
  }
  if (auto done = slots.remove(going); !done) return done;
  fmt::print("keyslot {} is removed, its key material overwritten\n", going);
  return {};
}

// change ----------------------------------------------------------------------------------------

Result<void> change(const SlotOptions& options) {
  auto opened = open_for_change(options);
  if (!opened) return std::move(opened).error();
  const auto cost = cost_of(options, *opened->slots);
  if (!cost) return cost.error();
  const auto secret = read_new_key(options.new_key, "--new-", opened->target.name());
  if (!secret) return secret.error();
  const auto slot =
      opened->slots->change(opened->volume_key(), opened->by(), secret->bytes.span(), *cost);
  if (!slot) {
    drop_unused_key(options, slot.error());
    return slot.error();
  }
  fmt::print("the new key is in keyslot {}, the old one is gone: {}\n", *slot, cost->describe());
  return {};
}

// test ------------------------------------------------------------------------------------------

Result<void> test(const SlotOptions& options) {
  const auto target = find_luks_target(options.target, options.keys.header, TargetUse::kRead);
  if (!target) return target.error();
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return unlock.error();
  const auto opened = open_target(*target, options.keys, *unlock);
  if (!opened) return opened.error();
  fmt::print("{}\n", engine::printable(opened->opened_by));
  return {};
}

// set -------------------------------------------------------------------------------------------

// No key is needed, as with cryptsetup's config.
Result<void> set(const SlotOptions& options) {
  const auto priority = priority_of(options.priority);
  if (!priority) return priority.error();
  if (options.slot.has_value() == options.priority.empty()) {
    return Error(ErrorCode::kUsage, "--slot and --priority go together");
  }
  if (!options.slot && !options.label) {
    return Error(ErrorCode::kUsage, "nothing to set")
        .with_hint("--label, or --slot and --priority");
  }
  auto target = find_luks_target(options.target, options.keys.header, TargetUse::kWrite);
  if (!target) return std::move(target).error();
  auto slots = slots_of(*target);
  if (!slots) return std::move(slots).error();
  if (options.slot) {
    if (auto used = check_in_use(**slots, *options.slot); !used) return used;
  }
  if (options.label) {  // first: what is wrong with it is found before anything is written
    if (auto done = (*slots)->set_label(*options.label); !done) return done;
    fmt::print("{}\n", options.label->empty() ? "the volume has no label now" : "the label is set");
  }
  if (options.slot) {
    if (auto done = (*slots)->set_priority(*options.slot, *priority); !done) return done;
    fmt::print("keyslot {} is tried {} now\n", *options.slot, priority_name(*priority));
  }
  return {};
}

// enroll-recovery -------------------------------------------------------------------------------

// A key of 128 random bits needs no slow derivation: it opens at once, also where memory is short.
KdfOptions recovery_cost(KdfOptions options) {
  const bool chosen = !options.type.empty() || options.seconds || options.iterations;
  if (chosen) return options;
  options.type = "pbkdf2";
  options.iterations = keyslots::kMinPbkdf2Iterations;
  return options;
}

bool print_passphrase(const engine::SecretBytes& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fputc('\n', stdout) != EOF && std::fflush(stdout) == 0;
}

Result<void> enroll_recovery(const SlotOptions& options) {
  auto opened = open_for_change(options);
  if (!opened) return std::move(opened).error();
  LuksKeyslots& slots = *opened->slots;
  const auto passphrase = keyslots::make_recovery_passphrase();
  if (!passphrase) return passphrase.error();
  SlotOptions cheap;
  cheap.kdf = recovery_cost(options.kdf);
  const auto cost = cost_of(cheap, slots);
  if (!cost) return cost.error();
  const auto slot = slots.add(opened->volume_key(), passphrase->span(), *cost, options.slot);
  if (!slot) return slot.error();
  // Nobody has read it as long as it is not printed, so nobody shall depend on it.
  if (slots.version() == 2) {
    if (auto done = slots.add_token(keyslots::kRecoveryToken, *slot); !done) {
      if (auto undone = slots.remove(*slot); !undone) return undone;
      return done;
    }
  }
  if (!print_passphrase(*passphrase)) {
    if (auto undone = slots.remove(*slot); !undone) return undone;
    return Error(ErrorCode::kSystem,
                 "the recovery passphrase could not be printed: it was removed "
                 "again");
  }
  fmt::print(stderr,
             "this recovery passphrase opens keyslot {}: write it down, it is not shown again\n",
             *slot);
  return {};
}

// -----------------------------------------------------------------------------------------------

using Run = Result<void> (*)(const SlotOptions&);

CLI::App* add_one(CLI::App& key, const char* name, const char* what,
                  const std::shared_ptr<SlotOptions>& options, Run run, int& exit_status) {
  CLI::App* command = key.add_subcommand(name, what);
  add_target_options(*command, options->target);
  command->callback([options, run, &exit_status] { exit_status = status_of(run(*options)); });
  return command;
}

void add_slot_option(CLI::App& command, SlotOptions& options, const char* what) {
  command.add_option("--slot", options.slot, what)->type_name("N");
}

}  // namespace

void add_key_slots(CLI::App& key, int& exit_status) {
  const auto with_options = [] { return std::make_shared<SlotOptions>(); };
  auto options = with_options();
  CLI::App* command =
      add_one(key, "list", "the key slots and tokens of a LUKS volume", options, list, exit_status);
  command->add_flag("--json", options->json, "the same facts for a program");
  command->add_option("--header", options->keys.header, "the volume's detached header")
      ->type_name("FILE");

  options = with_options();
  command = add_one(key, "add", "give a LUKS volume another key", options, add, exit_status);
  add_slot_option(*command, *options, "the key slot it goes to (default: the first free one)");
  command->add_option("--priority", options->priority, "first, normal or named (LUKS2)")
      ->type_name("P");
  add_new_key_options(*command, options->new_key, "--new-");
  add_kdf_options(*command, options->kdf);
  add_key_options(*command, options->keys);

  options = with_options();
  command = add_one(key, "remove", "take a key from a LUKS volume: the one given, or --slot",
                    options, remove, exit_status);
  add_slot_option(*command, *options, "remove this key slot; the key given opens another one");
  command->add_flag("--force", options->force, "even the last one: the data is lost then");
  add_key_options(*command, options->keys);
  auto* unused = command->add_flag(
      "--unused", options->unused,
      "overwrite what no key slot uses: all that a removal left\nthat was cut short; needs no key");
  for (const char* other :
       {"--slot", "--force", "--key", "--passphrase-file", "--key-file", "--keyslot"}) {
    unused->excludes(command->get_option(other));
  }

  options = with_options();
  command = add_one(key, "change", "replace the key of a LUKS volume that is given", options,
                    change, exit_status);
  add_new_key_options(*command, options->new_key, "--new-");
  add_kdf_options(*command, options->kdf);
  add_key_options(*command, options->keys);

  options = with_options();
  command = add_one(key, "set", "the label of a LUKS2 volume, the priority of a key slot", options,
                    set, exit_status);
  command->add_option("--label", options->label, "of the volume; '' takes it away")
      ->type_name("TEXT");
  add_slot_option(*command, *options, "the key slot that --priority is for");
  command
      ->add_option("--priority", options->priority,
                   "first, normal or named: tried only with --keyslot N")
      ->type_name("P");
  command->add_option("--header", options->keys.header, "the volume's detached header")
      ->type_name("FILE");

  options = with_options();
  command = add_one(key, "test", "say which key slot of a LUKS volume a key opens", options, test,
                    exit_status);
  add_key_options(*command, options->keys);

  options = with_options();
  command = add_one(key, "enroll-recovery", "add a recovery passphrase to a LUKS volume, print it",
                    options, enroll_recovery, exit_status);
  add_slot_option(*command, *options, "the key slot it goes to (default: the first free one)");
  add_kdf_options(*command, options->kdf);
  add_key_options(*command, options->keys);
}

}  // namespace latchkey::tools
