#include "keyslots/unlock.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <system_error>
#include <thread>

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

using Protectors = std::vector<const Protector*>;

// "keyslots 0, 1", "protector 0, raw VMK": labels that end in their number share their noun.
std::string name_protectors(const Protectors& protectors) {
  std::vector<std::pair<std::string, std::vector<unsigned>>> groups;
  for (const Protector* protector : protectors) {
    const std::string number = " " + std::to_string(protector->number);
    const bool numbered = protector->label.ends_with(number);
    const std::string noun =
        protector->label.substr(0, protector->label.size() - (numbered ? number.size() : 0));
    if (!groups.empty() && groups.back().first == noun && numbered) {
      groups.back().second.push_back(protector->number);
    } else {
      groups.push_back({noun, {}});
      if (numbered) groups.back().second.push_back(protector->number);
    }
  }
  std::string text;
  for (const auto& [noun, numbers] : groups) {
    text += fmt::format("{}{}{}{}{}", text.empty() ? "" : ", ", noun, numbers.size() > 1 ? "s" : "",
                        numbers.empty() ? "" : " ", numbers_of(numbers));
  }
  return text;
}

// The pairs that were tried, by secret, in the order the secrets came up.
class Attempts {
 public:
  void add(const Secret& secret, const Protector& protector) {
    const auto known = std::find_if(tried_.begin(), tried_.end(),
                                    [&](const auto& entry) { return entry.first == &secret; });
    if (known == tried_.end()) {
      tried_.push_back({&secret, {&protector}});
    } else {
      known->second.push_back(&protector);
    }
  }
  bool empty() const noexcept { return tried_.empty(); }

  std::string describe() const {
    std::string text;
    for (const auto& [secret, protectors] : tried_) {
      if (!text.empty()) text += "; ";
      text += fmt::format("{} on {}", secret->label, name_protectors(protectors));
    }
    return text;
  }

  std::string hint(const VolumeHeader& header) const {
    for (const auto& [secret, protectors] : tried_) {
      if (secret->protector_id.empty() || has_id(header, secret->protector_id)) continue;
      return fmt::format(
          "{} was made for protector {}, which this volume does not have; `latchkey info` lists "
          "those it has",
          secret->label, engine::printable(secret->protector_id));
    }
    if (any_of_kind(SecretKind::kKeyFile)) {
      return "check that the key belongs to this volume; --key-file takes every byte, a line end "
             "too, --passphrase-file leaves the line end out";
    }
    if (!any_of_kind(SecretKind::kPassphrase)) {
      return fmt::format("check that the key belongs to this volume; `latchkey info` lists the {}s",
                         header.protector_noun());
    }
    return fmt::format(
        "check the passphrase and the keyboard layout it was typed with; `latchkey info` lists the "
        "{}s",
        header.protector_noun());
  }

 private:
  static bool has_id(const VolumeHeader& header, const std::string& id) {
    const auto all = header.protectors();
    return std::any_of(all.begin(), all.end(),
                       [&](const Protector& protector) { return protector.id == id; });
  }
  bool any_of_kind(SecretKind kind) const {
    return std::any_of(tried_.begin(), tried_.end(),
                       [&](const auto& entry) { return entry.first->kind == kind; });
  }

  std::vector<std::pair<const Secret*, Protectors>> tried_;
};

Result<Protectors> in_order(const VolumeHeader& header, const UnlockOptions& options) {
  Protectors order;
  std::vector<unsigned> in_use;
  for (const Protector& protector : header.protectors()) {
    if (protector.on_disk) in_use.push_back(protector.number);
    const bool wanted = options.only_protector ? protector.number == *options.only_protector
                                               : protector.priority > 0;
    if (wanted) order.push_back(&protector);
  }
  if (options.only_protector && order.empty()) {
    const std::string noun = header.protector_noun();
    return Error(ErrorCode::kUsage,
                 fmt::format("{} {} is not in use", noun, *options.only_protector))
        .with_hint(in_use.empty() ? fmt::format("the volume has no {}s in use", noun)
                                  : fmt::format("in use: {}", numbers_of(in_use)));
  }
  std::stable_sort(order.begin(), order.end(), [](const Protector* a, const Protector* b) {
    return a->priority > b->priority;
  });
  return order;
}

Error a_key_is_needed(const Protectors& usable, const KeyRing& ring) {
  std::string hint = "give one with --passphrase-file FILE, --key-file FILE or --key FILE";
  for (const Protector* protector : usable) {
    if (!protector->matches.empty()) {
      hint += fmt::format("; {}: {}", protector->label, protector->matches);
    }
  }
  const std::string what = ring.empty()
                               ? "a key is needed"
                               : fmt::format("no key that was given ({}) is of a kind that fits",
                                             fmt::join(ring.labels(), ", "));
  return Error(ErrorCode::kKeyNeeded,
               fmt::format("{}: {} can be opened", what, name_protectors(usable)))
      .with_hint(std::move(hint));
}

// No pair could even be tried: because nothing was given, or because nothing here takes a secret.
Error nothing_tried(const VolumeHeader& header, const Protectors& order, const KeyRing& ring) {
  Protectors usable;
  bool beyond_disk = false;
  std::map<std::string, Protectors> reasons;
  for (const Protector* protector : order) {
    if (!protector->unusable.empty()) {
      reasons[protector->unusable].push_back(protector);
    } else if (protector->on_disk) {
      usable.push_back(protector);
    } else {
      beyond_disk = true;
    }
  }
  const std::string noun = header.protector_noun();
  if (!usable.empty()) return a_key_is_needed(usable, ring);
  if (!reasons.empty()) {
    std::string text;
    for (const auto& [reason, protectors] : reasons) {
      text +=
          fmt::format("{}{}: {}", text.empty() ? "" : "; ", name_protectors(protectors), reason);
    }
    return Error(ErrorCode::kNotSupported, fmt::format("no {} can be used: {}", noun, text))
        .with_hint(beyond_disk ? "a volume key out of a memory image would open it: --key FILE"
                               : "");
  }
  if (beyond_disk) {
    return Error(ErrorCode::kKeyNeeded, fmt::format("the volume has no {} left", noun))
        .with_hint("only a volume key out of a memory image can open it: --key FILE");
  }
  if (!header.protectors().empty()) {
    return Error(ErrorCode::kKeyNeeded,
                 fmt::format("every {} is set to be ignored unless it is named", noun))
        .with_hint("name one with --keyslot N; `latchkey info` lists them");
  }
  return Error(ErrorCode::kKeyNeeded,
               fmt::format("the header has no {} left: no key can open it", noun))
      .with_hint("restore a header backup, and name it with --header FILE");
}

struct Pair {
  const Protector* protector;
  const Secret* secret;
};

struct FoundKey {
  SecretBytes key;
  std::string by;
  unsigned protector = 0;
};

class Search {
 public:
  Search(const VolumeHeader& header, const UnlockOptions& options)
      : header_(header), options_(options), wanted_(header.key_count()) {}

  bool complete() const { return found.size() >= wanted_; }

  // Those that need no secret. One that does not open, although it should, is in the way of nothing
  // as long as another does.
  void try_open_doors(const Protectors& order) {
    const Secret nothing{.kind = SecretKind::kRawKey, .bytes = {}, .label = "no secret"};
    for (const Protector* protector : order) {
      if (protector->needs_secret || !takes_part(*protector)) continue;
      auto key = header_.try_secret(*protector, nothing, options_.limits);
      if (key) {
        add(*protector, std::move(*key), "no secret");
      } else if (!open_door_error) {
        open_door_error = std::move(key).error().within(protector->label);
      }
    }
  }

  // All pairs, in the order in which they count. A source that fails ends the list.
  std::vector<Pair> pairs_of(const Protectors& order, const KeyRing& ring) {
    std::vector<Pair> pairs;
    for (const Protector* protector : order) {
      if (!protector->needs_secret || !takes_part(*protector)) continue;
      auto secrets = ring.candidates(*protector);
      if (!secrets) {
        source_error = std::move(secrets).error();
        break;
      }
      for (const Secret* secret : *secrets) pairs.push_back({protector, secret});
    }
    // What names its protector is the likeliest of all.
    std::stable_partition(pairs.begin(), pairs.end(), [](const Pair& pair) {
      return !pair.secret->protector_id.empty() && pair.secret->protector_id == pair.protector->id;
    });
    return pairs;
  }

  void try_in_turn(const std::vector<Pair>& pairs) {
    for (const Pair& pair : pairs) {
      if (complete()) return;
      if (!takes_part(*pair.protector)) continue;
      settle(pair, header_.try_secret(*pair.protector, *pair.secret, options_.limits));
    }
  }

  // The same answer as in turn, for volumes with one key: pairs behind one that settles it are not
  // begun any more, and their results do not count.
  void try_together(const std::vector<Pair>& pairs) {
    std::vector<std::optional<Result<SecretBytes>>> results(pairs.size());
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> settled{pairs.size()};
    const auto work = [&] {
      for (std::size_t i = next++; i < pairs.size() && i < settled; i = next++) {
        results[i].emplace(
            header_.try_secret(*pairs[i].protector, *pairs[i].secret, options_.limits));
        if (!*results[i]) continue;
        std::size_t before = settled;
        while (i < before && !settled.compare_exchange_weak(before, i)) {
        }
      }
    };
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    {
      std::vector<std::jthread> helpers;
      try {
        for (std::size_t i = 1; i < std::min(cores, pairs.size()); ++i) helpers.emplace_back(work);
      } catch (const std::system_error&) {
        // No thread to be had: those there are do it all.
      }
      work();
    }
    for (std::size_t i = 0; i < pairs.size() && !complete(); ++i) {
      settle(pairs[i], std::move(*results[i]));
    }
  }

  std::map<unsigned, FoundKey> found;  // by index of the volume key
  Attempts attempts;
  std::optional<Error> source_error;
  std::optional<Error> open_door_error;
  std::optional<Error> misfit;   // the first secret that cannot be one of its kind
  std::optional<Error> failure;  // the first protector that something else kept from being tried

 private:
  bool takes_part(const Protector& protector) const {
    return protector.unusable.empty() && !found.contains(protector.opens);
  }

  void add(const Protector& protector, SecretBytes key, const std::string& with) {
    found.emplace(protector.opens,
                  FoundKey{std::move(key), fmt::format("{} with {}", protector.label, with),
                           protector.number});
  }

  void settle(const Pair& pair, Result<SecretBytes> result) {
    attempts.add(*pair.secret, *pair.protector);
    if (result) {
      add(*pair.protector, std::move(*result), pair.secret->label);
      return;
    }
    Error error = std::move(result).error().within(pair.protector->label);
    if (error.code() == ErrorCode::kWrongKey) return;
    // Another may fit all the same.
    std::optional<Error>& kept = error.code() == ErrorCode::kUsage ? misfit : failure;
    if (!kept) kept = std::move(error);
  }

  const VolumeHeader& header_;
  const UnlockOptions& options_;
  const std::size_t wanted_;
};

Error no_key_fits(const VolumeHeader& header, const Search& search) {
  const std::string tried = search.attempts.describe();
  if (search.found.empty()) {
    return Error(ErrorCode::kWrongKey, "no key fits: tried " + tried)
        .with_hint(search.attempts.hint(header));
  }
  return Error(ErrorCode::kWrongKey,
               fmt::format("the volume is being re-encrypted and needs {} keys, {} found ({}): "
                           "tried {}",
                           header.key_count(), search.found.size(), search.found.begin()->second.by,
                           tried))
      .with_hint(
          fmt::format("give the secrets of both the old and the new {}s", header.protector_noun()));
}

}  // namespace

Result<OpenedKeys> find_keys(const VolumeHeader& header, const KeyRing& ring,
                             const UnlockOptions& options) {
  if (const std::string& why = header.facts().unusable; !why.empty()) {
    return Error(ErrorCode::kNotSupported, why);
  }
  if (header.key_count() == 0)
    return OpenedKeys{.keys = {}, .opened_by = "no key: none is needed", .opened = {}};
  auto order = in_order(header, options);
  if (!order) return std::move(order).error();
  Search search(header, options);
  search.try_open_doors(*order);
  if (!search.complete()) {
    const auto pairs = search.pairs_of(*order, ring);
    const bool together = header.tries_in_parallel() && header.key_count() == 1;
    together ? search.try_together(pairs) : search.try_in_turn(pairs);
    if (!search.complete()) {
      if (search.source_error) return std::move(*search.source_error);
      if (search.attempts.empty() && search.open_door_error) {
        return std::move(*search.open_door_error);
      }
      if (search.attempts.empty()) return nothing_tried(header, *order, ring);
      if (search.failure) return std::move(*search.failure);
      if (search.misfit) return std::move(*search.misfit);
      return no_key_fits(header, search);
    }
  }

  OpenedKeys opened;
  opened.keys.resize(search.found.rbegin()->first + 1);
  for (auto& [index, one] : search.found) {
    opened.keys[index] = std::move(one.key);
    opened.opened_by += (opened.opened_by.empty() ? "" : ", ") + one.by;
    opened.opened.push_back(one.protector);
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
