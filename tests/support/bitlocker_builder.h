// Writes BitLocker volumes (metadata version 2) around a given plaintext, so that what reads them
// can be tested with any cipher, protector, state and fault. It is a second reading of the format:
// it shares no code with keyslots/bitlocker or engine/, its ciphers are OpenSSL's, and other
// people's readers open what it writes (tests/interop/bitlocker_builder.sh).
//
// The same specification gives the same bytes. Everything is in memory. Failures of OpenSSL and
// impossible specifications abort: they are mistakes in the test. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latchkey::test {

using ByteVector = std::vector<std::byte>;

enum class FveMethod : std::uint16_t {
  kNone = 0,
  kElephant128 = 0x8000,
  kElephant256 = 0x8001,
  kCbc128 = 0x8002,
  kCbc256 = 0x8003,
  kXts128 = 0x8004,
  kXts256 = 0x8005,
};

// What stands in sector 0: a fixed disk's boot sector, or the small FAT or exFAT file system that
// Windows puts in front of a removable disk.
enum class FveFront { kFixed, kFat, kExfat };

struct FveProtector {
  // kTpm and kUnknown hold nothing that opens them: they are there to be listed and passed over.
  enum class Kind { kClearKey, kExternalKey, kRecoveryPassword, kPassphrase, kTpm, kUnknown };
  Kind kind = Kind::kClearKey;
  std::u16string passphrase = {};               // kPassphrase
  std::u16string description = u"ExternalKey";  // kExternalKey
  bool new_properties = false;  // adds properties of types that came with later Windows
};

// A conversion recorded chunk by chunk on the volume (encrypt-on-write), some chunks done. Regions:
// what lies in front of the relocated sectors, they themselves, and what lies behind them.
struct FveRecording {
  std::uint32_t chunk_bytes = 0;  // zero: there is no recording
  unsigned done_of_ten = 5;       // about so many chunks are ciphertext
  bool second_copy_only = false;  // the first copy of the information and of each record is bad
  // Half of this chunk of the last region was decrypted when the power went; its log tells.
  std::optional<std::uint64_t> interrupted = {};
};

struct FveSpec {
  FveMethod method = FveMethod::kXts128;
  std::uint32_t sector_bytes = 512;
  FveFront front = FveFront::kFixed;
  bool eow_identifier = false;  // the GUID of encrypt-on-write in the boot sector
  FveRecording recording = {};  // only with that GUID
  std::uint16_t state = 4;
  std::uint16_t next_state = 4;
  // Sectors of the volume from here on are plain. Absent: all of it is ciphertext.
  std::optional<std::uint64_t> converted_below = {};
  std::uint32_t log_bytes = 0;  // conversion log at the watermark
  // Bytes of the volume; where zero, the builder finds places.
  std::array<std::uint64_t, 3> metadata = {};
  std::uint64_t relocated = 0;
  std::uint32_t relocated_sectors = 0;  // zero: 8 KiB
  std::vector<FveProtector> protectors = {};
  std::uint64_t seed = 1;
};

// What one protector needs, in the order of FveSpec::protectors.
struct FveWayIn {
  std::string guid;      // upper case, no braces
  std::string recovery;  // 48 digits in 8 groups
  ByteVector external_key;
  ByteVector bek;        // the file as Windows 7 to 10 write it
  ByteVector bek_win11;  // with the volume's GUID in it
};

struct FveVolume {
  ByteVector image;
  ByteVector plain;  // what a reader must give: the plaintext, its hidden areas zeroed
  ByteVector vmk;    // 32 bytes
  ByteVector fvek;   // as stored, padding included
  std::string volume_guid;
  std::vector<FveWayIn> ways_in;
  std::uint32_t sector_bytes = 512;
  std::array<std::uint64_t, 3> metadata = {};
  std::uint64_t relocated = 0;
  std::uint64_t relocated_bytes = 0;
  std::array<std::uint64_t, 2> eow = {};  // what an encrypt-on-write boot sector points at
  std::uint64_t recorded_ciphertext = 0;  // bytes, with a recording
};

inline constexpr std::uint64_t kFveMetadataBytes = 65536;

// `plain`: a whole number of sectors, at least 1 MiB.
FveVolume make_bitlocker(const FveSpec& spec, const ByteVector& plain);

// Some plaintext: random, with an NTFS boot sector in front.
ByteVector ntfs_like(std::size_t bytes, std::uint64_t seed);

// Offset of the `which`th datum of a role and type, counted from the start of a metadata copy.
// Looks at the top level, then into the protectors. Aborts where there is none.
std::size_t fve_datum(const FveVolume& volume, std::uint16_t role, std::uint16_t type,
                      unsigned which = 0);

// Makes CRC-32 and sealed SHA-256 of a copy (0 to 2) right again after a change in it.
void seal_fve_copy(FveVolume& volume, unsigned copy);
// Changes the same bytes in all three copies and seals them.
void patch_fve(FveVolume& volume, std::size_t offset, std::uint64_t value, unsigned bytes);

}  // namespace latchkey::test
