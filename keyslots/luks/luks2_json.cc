#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/bytes.h"
#include "keyslots/json_depth.h"
#include "keyslots/keys/base64.h"
#include "keyslots/luks/luks2_metadata.h"

namespace latchkey::keyslots {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxText = std::size_t{4} << 20;  // the largest header copy
constexpr unsigned kMaxNesting = 24;                    // the format needs 6
constexpr std::size_t kMaxString = 4096;  // of what is read here; tokens hold longer ones
constexpr std::size_t kMaxBinary = 1024;  // salts and digests
// Offsets and sizes stay below this, so that sums of a few of them cannot overflow.
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 60;
constexpr std::uint32_t kMaxInt = 0x7fffffff;

// Ends at the catch in parse_luks2_json(): reading some fifty fields with a Result each would bury
// what is read.
struct BadField {
  std::string what;
};

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw BadField{where + " " + what};
}

// One JSON object and where it stands, for messages.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail(where_, "is not an object");
  }

  const std::string& where() const { return where_; }
  const Json& json() const { return json_; }
  bool has(const char* name) const { return json_.contains(name); }

  Object object(const char* name) const { return {field(name), path(name)}; }

  std::string text(const char* name) const {
    const Json& value = field(name);
    if (!value.is_string()) fail(path(name), "is not a string");
    auto text = value.get<std::string>();
    if (text.size() > kMaxString) fail(path(name), "is too long");
    return text;
  }

  std::uint32_t number(const char* name) const {
    const Json& value = field(name);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kMaxInt) {
      fail(path(name), "is not a whole number below 2^31");
    }
    return value.get<std::uint32_t>();
  }

  // 64-bit numbers are strings of decimal digits, since JSON's own numbers are not that wide.
  std::uint64_t wide(const char* name, std::uint64_t most = kMaxOffset) const {
    const std::string digits = text(name);
    std::uint64_t value = 0;
    if (digits.empty() || digits.size() > 20) fail(path(name), "is not a decimal number");
    for (const char c : digits) {
      if (c < '0' || c > '9') fail(path(name), "is not a decimal number");
      const auto digit = static_cast<std::uint64_t>(c - '0');
      if (value > (UINT64_MAX - digit) / 10) fail(path(name), "does not fit 64 bits");
      value = value * 10 + digit;
    }
    if (value > most) fail(path(name), fmt::format("of {} is out of bounds", value));
    return value;
  }

  std::vector<std::byte> binary(const char* name) const {
    auto bytes = decode_base64(text(name));
    if (!bytes) fail(path(name), "is not base64");
    if (bytes->empty() || bytes->size() > kMaxBinary) {
      fail(path(name), fmt::format("has {} bytes", bytes->size()));
    }
    return std::move(*bytes);
  }

  std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> out;
    const Json& list = field(name);
    if (!list.is_array()) fail(path(name), "is not a list");
    for (const Json& item : list) {
      if (!item.is_string()) fail(path(name), "holds something that is not a string");
      out.push_back(item.get<std::string>());
      if (out.back().size() > kMaxString) fail(path(name), "holds a string that is too long");
    }
    return out;
  }

  // Lists of object ids: ["0", "1"].
  std::vector<unsigned> ids(const char* name) const {
    std::vector<unsigned> out;
    for (const std::string& item : texts(name)) out.push_back(id_of(item, path(name)));
    return out;
  }

  static unsigned id_of(const std::string& text, const std::string& where) {
    const bool digits = !text.empty() && text.size() <= 4 &&
                        text.find_first_not_of("0123456789") == text.npos &&
                        (text.size() == 1 || text[0] != '0');
    if (!digits) fail(where, "'" + engine::printable(text) + "' is not an object number");
    return static_cast<unsigned>(std::stoul(text));
  }

  // Every member, which must be objects named by number, in order of that number.
  template <class Parse>
  auto numbered(const char* noun, std::size_t most, Parse parse) const {
    using Value = decltype(parse(*this, 0U));
    std::vector<Value> out;
    if (json_.size() > most) fail(where_, fmt::format("holds {} objects", json_.size()));
    for (const auto& [key, value] : json_.items()) {
      const unsigned id = id_of(key, where_);
      out.push_back(parse(Object(value, fmt::format("{} {}:", noun, id)), id));
    }
    std::sort(out.begin(), out.end(), [](const Value& a, const Value& b) { return a.id < b.id; });
    return out;
  }

 private:
  std::string path(const char* name) const { return where_ + " " + name; }
  const Json& field(const char* name) const {
    const auto found = json_.find(name);
    if (found == json_.end()) fail(path(name), "is missing");
    return *found;
  }

  const Json& json_;
  std::string where_;
};

KdfSpec parse_kdf(const Object& from) {
  KdfSpec kdf;
  kdf.type = from.text("type");
  if (kdf.type == "argon2") kdf.type = "argon2i";  // its name before the format's first release
  if (kdf.type == "pbkdf2") {
    kdf.hash = from.text("hash");
    kdf.iterations = from.number("iterations");
  } else if (kdf.type == "argon2i" || kdf.type == "argon2id") {
    kdf.iterations = from.number("time");
    kdf.memory_kib = from.number("memory");
    kdf.lanes = from.number("cpus");
  }
  kdf.salt = from.binary("salt");
  return kdf;
}

Luks2Area parse_area(const Object& from) {
  Luks2Area area;
  area.type = from.text("type");
  area.offset = from.wide("offset");
  area.size = from.wide("size");
  if (area.type == "raw") {
    area.encryption = from.text("encryption");
    area.key_bytes = from.number("key_size");
  }
  if (area.type == "checksum" || area.type == "datashift-checksum") {
    area.hash = from.text("hash");
    area.sector_bytes = from.number("sector_size");
  }
  if (area.type.starts_with("datashift")) area.shift_bytes = from.wide("shift_size");
  return area;
}

Luks2Keyslot parse_keyslot(const Object& from, unsigned id) {
  Luks2Keyslot slot;
  slot.id = id;
  slot.type = from.text("type");
  slot.key_bytes = from.number("key_size");
  slot.area = parse_area(from.object("area"));
  if (from.has("priority")) {
    const std::uint32_t priority = from.number("priority");
    if (priority > 2) fail(from.where(), fmt::format("a priority of {}", priority));
    slot.priority = static_cast<int>(priority);
  }
  if (slot.type == "luks2") {
    const Object af = from.object("af");
    if (af.text("type") != "luks1") fail(from.where(), "its anti-forensic type is not 'luks1'");
    slot.af_hash = af.text("hash");
    slot.stripes = af.number("stripes");
    slot.kdf = parse_kdf(from.object("kdf"));
  } else if (slot.type == "reencrypt") {
    slot.mode = from.text("mode");
    slot.direction = from.text("direction");
  }
  return slot;
}

Luks2Segment parse_segment(const Object& from, unsigned id) {
  Luks2Segment segment;
  segment.id = id;
  segment.type = from.text("type");
  segment.offset = from.wide("offset");
  if (from.text("size") != "dynamic") segment.size = from.wide("size");
  if (from.has("flags")) segment.flags = from.texts("flags");
  if (segment.type == "crypt") {
    segment.iv_tweak = from.wide("iv_tweak", UINT64_MAX);
    segment.encryption = from.text("encryption");
    segment.sector_bytes = from.number("sector_size");
    if (from.has("integrity")) segment.integrity = from.object("integrity").text("type");
  }
  return segment;
}

Luks2Digest parse_digest(const Object& from, unsigned id) {
  Luks2Digest digest;
  digest.id = id;
  digest.type = from.text("type");
  digest.keyslots = from.ids("keyslots");
  digest.segments = from.ids("segments");
  if (digest.type == "pbkdf2") {
    digest.kdf.type = "pbkdf2";
    digest.kdf.hash = from.text("hash");
    digest.kdf.iterations = from.number("iterations");
    digest.kdf.salt = from.binary("salt");
    digest.digest = from.binary("digest");
  }
  return digest;
}

Luks2Token parse_token(const Object& from, unsigned id) {
  return {id, from.text("type"), from.ids("keyslots")};
}

Luks2Metadata read_metadata(const Object& root) {
  Luks2Metadata metadata;
  metadata.keyslots = root.object("keyslots").numbered("keyslot", kLuks2MaxSlots, parse_keyslot);
  metadata.segments = root.object("segments").numbered("segment", kLuks2MaxSlots, parse_segment);
  metadata.digests = root.object("digests").numbered("digest", kLuks2MaxSlots, parse_digest);
  metadata.tokens = root.object("tokens").numbered("token", kLuks2MaxSlots, parse_token);
  const Object config = root.object("config");
  metadata.json_bytes = config.wide("json_size");
  metadata.keyslots_bytes = config.wide("keyslots_size");
  if (config.has("requirements")) {
    const Object requirements = config.object("requirements");
    if (requirements.has("mandatory")) metadata.requirements = requirements.texts("mandatory");
  }
  return metadata;
}

}  // namespace

Result<Luks2Metadata> parse_luks2_json(std::string_view text) {
  if (text.size() > kMaxText) return Error(ErrorCode::kDamaged, "the json area is too large");
  if (json_nests_deeper_than(text, kMaxNesting))
    return Error(ErrorCode::kDamaged, "the json area nests too deep");
  try {
    const Json json = Json::parse(text);
    return read_metadata(Object(json, "json"));
  } catch (const BadField& bad) {
    return Error(ErrorCode::kDamaged, bad.what);
  } catch (const Json::parse_error& bad) {
    return Error(ErrorCode::kDamaged, fmt::format("the json area is broken at byte {}", bad.byte));
  } catch (const Json::exception&) {
    return Error(ErrorCode::kDamaged, "the json area has a value of the wrong kind");
  }
}

}  // namespace latchkey::keyslots
