// The JSON area of a LUKS2 header (LUKS2 on-disk format 1.1, section 3) as plain values.
//
// parse_luks2_json() is the only place that meets the JSON library; its exceptions end there. It
// bounds size, nesting and every number, and check_luks2_metadata() what the numbers mean together:
// after both, offsets and lengths may be added without overflow and areas lie where they belong.
// Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "keyslots/kdf.h"

namespace latchkey::keyslots {

inline constexpr std::size_t kLuks2MaxSlots = 32;

struct Luks2Area {
  std::string type;  // "raw"; of a re-encryption: "none", "checksum", "journal", "datashift", ...
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::string encryption;                    // raw
  std::uint32_t key_bytes = 0;               // raw
  std::string hash;                          // checksum
  std::uint32_t sector_bytes = 0;            // checksum: the block each hash covers
  std::optional<std::uint64_t> shift_bytes;  // datashift
};

struct Luks2Keyslot {
  unsigned id = 0;
  std::string type;  // "luks2", "reencrypt"
  std::uint32_t key_bytes = 0;
  Luks2Area area;
  int priority = 1;
  // type luks2
  std::string af_hash;
  std::uint32_t stripes = 0;
  KdfSpec kdf;
  // type reencrypt
  std::string mode;       // "reencrypt", "encrypt", "decrypt"
  std::string direction;  // "forward", "backward"
};

struct Luks2Segment {
  unsigned id = 0;
  std::string type;  // "crypt", "linear"
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> size;  // absent: dynamic, up to the end of the device
  std::uint64_t iv_tweak = 0;         // in 512-byte units
  std::string encryption;
  std::uint32_t sector_bytes = 0;
  std::string integrity;  // its type; empty: none
  std::vector<std::string> flags;

  bool has_flag(std::string_view flag) const;
  bool is_backup() const;  // describes the volume before or after a re-encryption, not now
};

struct Luks2Digest {
  unsigned id = 0;
  std::string type;
  std::vector<unsigned> keyslots;
  std::vector<unsigned> segments;
  KdfSpec kdf;
  std::vector<std::byte> digest;
};

struct Luks2Token {
  unsigned id = 0;
  std::string type;
  std::vector<unsigned> keyslots;
};

// Each list in order of id.
struct Luks2Metadata {
  std::vector<Luks2Keyslot> keyslots;
  std::vector<Luks2Segment> segments;
  std::vector<Luks2Digest> digests;
  std::vector<Luks2Token> tokens;
  std::vector<std::string> requirements;
  std::uint64_t json_bytes = 0;
  std::uint64_t keyslots_bytes = 0;

  const Luks2Digest* digest_of_segment(unsigned segment) const;
  const Luks2Digest* digest_of_keyslot(unsigned keyslot) const;
  const Luks2Segment* segment_flagged(std::string_view flag) const;
  const Luks2Keyslot* reencrypt_keyslot() const;
  bool requires_feature(std::string_view name) const;
};

// kDamaged says which object and field; kNotSupported does not occur: what is unknown but well
// formed is kept by name for the volume to judge.
engine::Result<Luks2Metadata> parse_luks2_json(std::string_view text);

// `header_bytes` is the size of one header copy (binary header and JSON area).
engine::Result<void> check_luks2_metadata(const Luks2Metadata& metadata,
                                          std::uint64_t header_bytes);

}  // namespace latchkey::keyslots
