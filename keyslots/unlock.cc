#include "keyslots/unlock.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

std::string numbers_of(const std::vector<unsigned>& numbers) {
  return fmt::format("{}", fmt::join(numbers, ", "));
}

// "keyslots 0, 1": the labels differ in their number only, so the first gives the noun.
std::string name_protectors(std::span<const Protector> all, const std::vector<unsigned>& numbers) {
  const auto first = std::find_if(all.begin(), all.end(),
                                  [&](const Protector& p) { return p.number == numbers.front(); });
  if (numbers.size() == 1) return first->label;
  const std::string noun = first->label.substr(0, first->label.rfind(' '));
  return fmt::format("{}s {}", noun, numbers_of(numbers));
}

// The pairs that were tried, by secret, in the order the secrets came up.
class Attempts {
 public:
  void add(const Secret& secret, const Protector& protector) {
    const auto known = std::find_if(tried_.begin(), tried_.end(),
                                    [&](const auto& entry) { return entry.first == &secret; });
    if (known == tried_.end()) {
      tried_.push_back({&secret, {protector.number}});
    } else {
      known->second.push_back(protector.number);
    }
  }
  bool empty() const noexcept { return tried_.empty(); }

  std::string describe(std::span<const Protector> all) const {
    std::string text;
    for (const auto& [secret, numbers] : tried_) {
      if (!text.empty()) text += "; ";
      text += fmt::format("{} on {}", secret->label, name_protectors(all, numbers));
    }
    return text;
  }

  std::string hint() const {
    const bool key_file = std::any_of(tried_.begin(), tried_.end(), [](const auto& entry) {
      return entry.first->kind == SecretKind::kKeyFile;
    });
    return key_file ? "check that the key belongs to this volume; --key-file takes every byte, a "
                      "line end too, --passphrase-file leaves the line end out"
                    : "check the passphrase and the keyboard layout it was typed with; `latchkey "
                      "info` lists the key slots";
  }

 private:
  std::vector<std::pair<const Secret*, std::vector<unsigned>>> tried_;
};

Result<std::vector<const Protector*>> in_order(const VolumeHeader& header,
                                               const UnlockOptions& options) {
  std::vector<const Protector*> order;
  std::vector<unsigned> in_use;
  for (const Protector& protector : header.protectors()) {
    in_use.push_back(protector.number);
    const bool wanted = options.only_protector ? protector.number == *options.only_protector
                                               : protector.priority > 0;
    if (wanted) order.push_back(&protector);
  }
  if (options.only_protector && order.empty()) {
    return Error(ErrorCode::kUsage,
                 fmt::format("keyslot {} is not in use", *options.only_protector))
        .with_hint(in_use.empty() ? "the volume has no key slots in use"
                                  : fmt::format("in use: {}", numbers_of(in_use)));
  }
  std::stable_sort(order.begin(), order.end(), [](const Protector* a, const Protector* b) {
    return a->priority > b->priority;
  });
  return order;
}

// No pair could even be tried: because nothing was given, or because nothing here takes a secret.
Error nothing_tried(const VolumeHeader& header, const std::vector<const Protector*>& order) {
  std::vector<unsigned> usable;
  std::map<std::string, std::vector<unsigned>> reasons;
  for (const Protector* protector : order) {
    if (protector->unusable.empty()) {
      usable.push_back(protector->number);
    } else {
      reasons[protector->unusable].push_back(protector->number);
    }
  }
  if (!usable.empty()) {
    return Error(ErrorCode::kKeyNeeded, fmt::format("a key is needed: {} can be opened",
                                                    name_protectors(header.protectors(), usable)))
        .with_hint("give one with --passphrase-file FILE, --key-file FILE or --key FILE");
  }
  if (!reasons.empty()) {
    std::string text;
    for (const auto& [reason, numbers] : reasons) {
      text += fmt::format("{}{}: {}", text.empty() ? "" : "; ",
                          name_protectors(header.protectors(), numbers), reason);
    }
    return {ErrorCode::kNotSupported, "no key slot can be used: " + text};
  }
  if (!header.protectors().empty()) {
    return Error(ErrorCode::kKeyNeeded, "every key slot is set to be ignored unless it is named")
        .with_hint("name one with --keyslot N; `latchkey info` lists them");
  }
  return Error(ErrorCode::kKeyNeeded, "the header has no key slot left: no key can open it")
      .with_hint("restore a header backup, and name it with --header FILE");
}

struct FoundKey {
  SecretBytes key;
  std::string by;
};

struct Search {
  const VolumeHeader& header;
  const KeyRing& ring;
  const UnlockOptions& options;
  std::map<unsigned, FoundKey> found;  // by index of the volume key
  Attempts attempts;

  Result<void> try_protector(const Protector& protector) {
    if (!protector.unusable.empty() || found.contains(protector.opens)) return {};
    auto secrets = ring.candidates(protector);
    if (!secrets) return std::move(secrets).error();
    for (const Secret* secret : *secrets) {
      attempts.add(*secret, protector);
      auto key = header.try_secret(protector, *secret, options.limits);
      if (key) {
        found.emplace(
            protector.opens,
            FoundKey{std::move(*key), fmt::format("{} with {}", protector.label, secret->label)});
        return {};
      }
      if (key.error().code() != ErrorCode::kWrongKey) {
        return std::move(key).error().within(protector.label);
      }
    }
    return {};
  }
};

Error no_key_fits(const Search& search) {
  const std::string tried = search.attempts.describe(search.header.protectors());
  if (search.found.empty()) {
    return Error(ErrorCode::kWrongKey, "no key fits: tried " + tried)
        .with_hint(search.attempts.hint());
  }
  return Error(ErrorCode::kWrongKey,
               fmt::format("the volume is being re-encrypted and needs {} keys, {} found ({}): "
                           "tried {}",
                           search.header.key_count(), search.found.size(),
                           search.found.begin()->second.by, tried))
      .with_hint("give the secrets of both the old and the new key slots");
}

}  // namespace

Result<OpenedKeys> find_keys(const VolumeHeader& header, const KeyRing& ring,
                             const UnlockOptions& options) {
  if (const std::string& why = header.facts().unusable; !why.empty()) {
    return Error(ErrorCode::kNotSupported, why);
  }
  auto order = in_order(header, options);
  if (!order) return std::move(order).error();
  Search search{header, ring, options, {}, {}};
  const std::size_t wanted = header.key_count();
  for (const Protector* protector : *order) {
    if (auto tried = search.try_protector(*protector); !tried) return std::move(tried).error();
    if (search.found.size() == wanted) break;
  }
  if (search.attempts.empty()) return nothing_tried(header, *order);
  if (search.found.size() < wanted) return no_key_fits(search);

  OpenedKeys opened;
  opened.keys.resize(search.found.rbegin()->first + 1);
  for (auto& [index, one] : search.found) {
    opened.keys[index] = std::move(one.key);
    opened.opened_by += (opened.opened_by.empty() ? "" : ", ") + one.by;
  }
  return opened;
}

Result<UnlockedVolume> unlock_volume(const VolumeHeader& header, const KeyRing& ring,
                                     const UnlockOptions& options) {
  auto opened = find_keys(header, ring, options);
  if (!opened) return std::move(opened).error();
  auto volume = header.layout(std::move(opened->keys));
  if (volume) volume->opened_by = std::move(opened->opened_by);
  return volume;
}

}  // namespace latchkey::keyslots
