#include "keyslots/keys/secret_json.h"

#include "keyslots/json_depth.h"
#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::SecretBytes;

namespace {

constexpr unsigned kMaxDepth = 16;

}  // namespace

std::optional<SecretJson> parse_secret_json(engine::Bytes text) {
  const std::string_view view = as_text(text);
  if (json_nests_deeper_than(view, kMaxDepth)) return std::nullopt;
  auto json = SecretJson::parse(view.begin(), view.end(), nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

const SecretJson* member(const SecretJson& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  for (auto entry = object.begin(); entry != object.end(); ++entry) {
    if (equal_ignoring_case(std::string_view(entry.key()), name)) return &entry.value();
  }
  return nullptr;
}

std::string printable_member(const SecretJson& object, std::string_view name) {
  const SecretJson* found = member(object, name);
  if (found == nullptr || !found->is_string()) return {};
  return engine::printable(std::string_view(found->get_ref<const WipedString&>()));
}

std::optional<SecretBytes> secret_member(const SecretJson& object, std::string_view name) {
  const SecretJson* found = member(object, name);
  if (found == nullptr || !found->is_string()) return std::nullopt;
  return SecretBytes::copy_of(
      engine::as_bytes(std::string_view(found->get_ref<const WipedString&>())));
}

}  // namespace latchkey::keyslots
