#include "keyslots/key_ring.h"

#include <algorithm>

namespace latchkey::keyslots {

using engine::Result;

Result<std::vector<const Secret*>> FixedSecrets::candidates(const Protector& protector) {
  std::vector<const Secret*> fitting;
  for (const auto& secret : secrets_) {
    const auto& takes = protector.takes;
    if (std::find(takes.begin(), takes.end(), secret->kind) != takes.end()) {
      fitting.push_back(secret.get());
    }
  }
  return fitting;
}

std::vector<std::string> FixedSecrets::labels() const {
  std::vector<std::string> labels;
  for (const auto& secret : secrets_) labels.push_back(secret->label);
  return labels;
}

namespace {

// For a protector that takes both, a passphrase and a key file of the same bytes are the same.
bool same_kind(SecretKind a, SecretKind b) {
  const auto merged = [](SecretKind kind) {
    return kind == SecretKind::kKeyFile ? SecretKind::kPassphrase : kind;
  };
  return merged(a) == merged(b);
}

}  // namespace

Result<std::vector<const Secret*>> KeyRing::candidates(const Protector& protector) const {
  std::vector<const Secret*> distinct;
  for (const auto& source : sources_) {
    auto offered = source->candidates(protector);
    if (!offered) return std::move(offered).error();
    for (const Secret* secret : *offered) {
      const bool known = std::any_of(distinct.begin(), distinct.end(), [&](const Secret* other) {
        return same_kind(other->kind, secret->kind) && other->bytes.equals(secret->bytes.span());
      });
      if (!known) distinct.push_back(secret);
    }
  }
  if (!protector.id.empty()) {
    std::stable_partition(distinct.begin(), distinct.end(), [&](const Secret* secret) {
      return secret->protector_id == protector.id;
    });
  }
  return distinct;
}

std::vector<std::string> KeyRing::labels() const {
  std::vector<std::string> labels;
  for (const auto& source : sources_) {
    for (std::string& label : source->labels()) {
      if (std::find(labels.begin(), labels.end(), label) == labels.end()) {
        labels.push_back(std::move(label));
      }
    }
  }
  return labels;
}

}  // namespace latchkey::keyslots
