#include "keyslots/luks/luks2_json_edit.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "keyslots/keys/base64.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

// Keeps the order of members.
using OrderedJson = nlohmann::ordered_json;

std::string key_of(unsigned id) {
  return std::to_string(id);
}

OrderedJson ids_of(const std::vector<unsigned>& ids) {
  OrderedJson list = OrderedJson::array();
  for (const unsigned id : ids) list.push_back(key_of(id));
  return list;
}

OrderedJson json_of(const KdfSpec& kdf) {
  if (kdf.type == "pbkdf2") {
    return {{"type", kdf.type},
            {"hash", kdf.hash},
            {"iterations", kdf.iterations},
            {"salt", encode_base64(kdf.salt)}};
  }
  return {{"type", kdf.type},
          {"time", kdf.iterations},
          {"memory", kdf.memory_kib},
          {"cpus", kdf.lanes},
          {"salt", encode_base64(kdf.salt)}};
}

void put_keyslot(OrderedJson& keyslots, const Luks2Keyslot& slot) {
  OrderedJson& json = keyslots[key_of(slot.id)];
  json["type"] = slot.type;
  json["key_size"] = slot.key_bytes;
  json["af"] = {{"type", "luks1"}, {"stripes", slot.stripes}, {"hash", slot.af_hash}};
  json["area"] = {{"type", slot.area.type},
                  {"offset", std::to_string(slot.area.offset)},
                  {"size", std::to_string(slot.area.size)},
                  {"encryption", slot.area.encryption},
                  {"key_size", slot.area.key_bytes}};
  json["kdf"] = json_of(slot.kdf);
  if (slot.priority != 1) json["priority"] = slot.priority;
}

OrderedJson json_of(const Luks2Segment& segment) {
  return {{"type", segment.type},
          {"offset", std::to_string(segment.offset)},
          {"size", segment.size ? std::to_string(*segment.size) : "dynamic"},
          {"iv_tweak", std::to_string(segment.iv_tweak)},
          {"encryption", segment.encryption},
          {"sector_size", segment.sector_bytes}};
}

OrderedJson json_of(const Luks2Digest& digest) {
  return {{"type", digest.type},
          {"keyslots", ids_of(digest.keyslots)},
          {"segments", ids_of(digest.segments)},
          {"hash", digest.kdf.hash},
          {"iterations", digest.kdf.iterations},
          {"salt", encode_base64(digest.kdf.salt)},
          {"digest", encode_base64(digest.digest)}};
}

// A number with a fraction, or one of more than 64 bits, may come out with other digits.
bool holds_float(const OrderedJson& json) {
  if (json.is_number_float()) return true;
  if (!json.is_structured()) return false;
  return std::any_of(json.begin(), json.end(), holds_float);
}

bool names(const OrderedJson& list, const std::string& id) {
  return std::any_of(list.begin(), list.end(), [&](const OrderedJson& item) { return item == id; });
}

// Nothing but this changes: `change` gets the parsed text, which has the members every header has.
template <class Change>
Result<std::string> edited(std::string_view text, const Change& change) {
  try {
    OrderedJson json = OrderedJson::parse(text);
    if (holds_float(json)) {
      return Error(ErrorCode::kNotSupported,
                   "the json area holds a number that could not be kept as it is: the header is "
                   "not changed");
    }
    change(json);
    return json.dump();
  } catch (const OrderedJson::exception&) {
    return Error(ErrorCode::kDamaged, "the json area cannot be edited");
  }
}

}  // namespace

std::string make_luks2_json(const Luks2Metadata& metadata) {
  OrderedJson json{{"keyslots", OrderedJson::object()},
                   {"tokens", OrderedJson::object()},
                   {"segments", OrderedJson::object()},
                   {"digests", OrderedJson::object()},
                   {"config",
                    {{"json_size", std::to_string(metadata.json_bytes)},
                     {"keyslots_size", std::to_string(metadata.keyslots_bytes)}}}};
  for (const Luks2Keyslot& slot : metadata.keyslots) put_keyslot(json["keyslots"], slot);
  for (const Luks2Segment& segment : metadata.segments) {
    json["segments"][key_of(segment.id)] = json_of(segment);
  }
  for (const Luks2Digest& digest : metadata.digests) {
    json["digests"][key_of(digest.id)] = json_of(digest);
  }
  return json.dump();
}

Result<std::string> luks2_json_with_keyslot(std::string_view text, const Luks2Keyslot& slot,
                                            unsigned digest) {
  return edited(text, [&](OrderedJson& json) {
    put_keyslot(json.at("keyslots"), slot);
    OrderedJson& list = json.at("digests").at(key_of(digest)).at("keyslots");
    if (!names(list, key_of(slot.id))) list.push_back(key_of(slot.id));
  });
}

Result<std::string> luks2_json_without_keyslot(std::string_view text, unsigned slot) {
  return edited(text, [&](OrderedJson& json) {
    const std::string id = key_of(slot);
    (void)json.at("keyslots").at(id);
    json.at("keyslots").erase(id);
    for (const char* group : {"digests", "tokens"}) {
      for (OrderedJson& object : json.at(group)) {
        OrderedJson kept = OrderedJson::array();
        for (const OrderedJson& item : object.at("keyslots")) {
          if (item != id) kept.push_back(item);
        }
        object.at("keyslots") = std::move(kept);
      }
    }
  });
}

Result<std::string> luks2_json_with_priority(std::string_view text, unsigned slot, int priority) {
  return edited(text, [&](OrderedJson& json) {
    OrderedJson& object = json.at("keyslots").at(key_of(slot));
    if (priority == 1) {
      object.erase("priority");
    } else {
      object["priority"] = priority;
    }
  });
}

Result<std::string> luks2_json_with_area_at(std::string_view text, unsigned slot,
                                            std::uint64_t offset) {
  return edited(text, [&](OrderedJson& json) {
    json.at("keyslots").at(key_of(slot)).at("area").at("offset") = std::to_string(offset);
  });
}

Result<std::string> luks2_json_with_token(std::string_view text, const std::string& type,
                                          unsigned slot) {
  return edited(text, [&](OrderedJson& json) {
    OrderedJson& tokens = json.at("tokens");
    unsigned id = 0;
    while (tokens.contains(key_of(id))) ++id;
    tokens[key_of(id)] = {{"type", type}, {"keyslots", OrderedJson::array({key_of(slot)})}};
  });
}

}  // namespace latchkey::keyslots
