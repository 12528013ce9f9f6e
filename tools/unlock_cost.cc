#include "tools/unlock_cost.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>

#include "engine/bytes.h"
#include "keyslots/secret.h"

namespace latchkey::tools {

using engine::ErrorCode;
using keyslots::Protector;
using keyslots::Secret;
using keyslots::SecretKind;

namespace {

bool takes(const Protector& protector, SecretKind kind) {
  return std::find(protector.takes.begin(), protector.takes.end(), kind) != protector.takes.end();
}

// A secret of a kind that is derived from, and that nobody has chosen. Nothing where the protector
// takes keys as they are.
std::optional<Secret> dummy_for(const Protector& protector) {
  const auto secret = [](SecretKind kind, std::string_view text) {
    return Secret{.kind = kind,
                  .bytes = engine::SecretBytes::copy_of(engine::as_bytes(text)),
                  .label = "a dummy"};
  };
  if (takes(protector, SecretKind::kPassphrase)) {
    return secret(SecretKind::kPassphrase, "latchkey info --unlock-cost \x7f\x7f");
  }
  if (takes(protector, SecretKind::kRecoveryPassword)) {
    return secret(SecretKind::kRecoveryPassword,
                  "000000-000011-000022-000033-000044-000055-000066-000077");
  }
  return std::nullopt;
}

UnlockCost cost_of(const keyslots::VolumeHeader& header, const Protector& protector,
                   const keyslots::KdfLimits& limits) {
  UnlockCost cost;
  if (!protector.unusable.empty()) {
    cost.why_not = "it cannot be used";
    return cost;
  }
  const std::optional<Secret> dummy = dummy_for(protector);
  if (!dummy) {
    cost.why_not = "it derives no key";
    return cost;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto tried = header.try_secret(protector, *dummy, limits);
  cost.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!tried && tried.error().code() != ErrorCode::kWrongKey) {
    const std::string& hint = tried.error().hint();
    cost.why_not = engine::printable(tried.error().message()) + (hint.empty() ? "" : "; " + hint);
  }
  return cost;
}

}  // namespace

UnlockCosts measure_unlock_costs(const Image& image, const keyslots::KdfLimits& limits,
                                 const std::function<void(const std::string&)>& says) {
  UnlockCosts costs;
  for (const Region* region : image.encrypted()) {
    const keyslots::VolumeHeader* header = region->volume->header.get();
    if (header == nullptr) continue;
    for (const Protector& protector : header->protectors()) {
      if (!protector.on_disk) continue;
      says((region->number == 0 ? "" : region->name() + " ") + protector.label);
      costs[{region->number, protector.number}] = cost_of(*header, protector, limits);
    }
  }
  return costs;
}

}  // namespace latchkey::tools
