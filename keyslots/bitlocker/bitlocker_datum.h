// The tree of datums that BitLocker keeps its protectors and keys in: in a volume's metadata, in
// BEK files and inside what AES-CCM opens.
//
// A datum is {u16 size, u16 role, u16 type, u16 flags} and a payload; some types have a fixed part
// and then datums of their own. Types and roles that are not known are kept, not looked into. Pure;
// any thread. A Datum points into the bytes it was parsed from and must not outlive them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "engine/result.h"

namespace latchkey::keyslots {

enum class DatumRole : std::uint16_t {
  kProperty = 0,
  kVmk = 2,
  kFvek = 3,
  kStartupKey = 6,
  kDescription = 7,
  kVirtualization = 0xf,
  kVolumeGuid = 0x19,
};

enum class DatumType : std::uint16_t {
  kErased = 0,
  kKey = 1,
  kText = 2,
  kStretchKey = 3,
  kUseKey = 4,
  kAesCcm = 5,
  kTpmBlob = 6,
  kVmk = 8,
  kExternalKey = 9,
  kVirtualization = 0xf,
  kGuid = 0x17,
};

struct Datum {
  DatumRole role{};
  DatumType type{};
  std::uint16_t flags = 0;
  engine::Bytes payload;        // all behind the 8 bytes of its head, children included
  std::vector<Datum> children;  // of the types that have any

  // Null where there is none.
  const Datum* child(DatumType wanted) const noexcept;
};

inline constexpr std::size_t kDatumHeadBytes = 8;
inline constexpr std::size_t kMaxDatumDepth = 4;  // 2 in every volume seen
inline constexpr std::size_t kMaxDatums = 1024;   // in one tree, all levels together

// The datums that fill `area`. What is left behind the last one, too short for another or all
// zeros, is ignored. kDamaged where sizes do not fit into each other, or a tree is too deep or
// large.
engine::Result<std::vector<Datum>> parse_datums(engine::Bytes area);

const Datum* find_datum(const std::vector<Datum>& datums, DatumRole role, DatumType type) noexcept;

// A text datum, made printable.
std::string datum_text(const Datum& datum);

// A Windows FILETIME as "2025-09-13 14:00:16" UTC; empty where it is 0 or not a date before 10000.
std::string filetime_text(std::uint64_t filetime);

}  // namespace latchkey::keyslots
