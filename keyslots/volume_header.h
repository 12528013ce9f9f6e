// An encrypted volume's header, before and after it is unlocked.
//
//   probe_volume()  bytes on disk      -> VolumeHeader (parsed, bounded, nothing secret)
//   unlock_volume() header + KeyRing   -> UnlockedVolume: {layers, map}   (unlock.h)
//   plaintext_of()  UnlockedVolume     -> a BlockDevice
//
// A format implements VolumeHeader and adds one line to the probe table in volume_header.cc. It
// contains no I/O loop, thread or lock: it parses, says which protectors there are, turns one
// secret into keys for one protector, and describes the layout.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/block_device.h"
#include "engine/notices.h"
#include "engine/piece_map.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "engine/sector_cipher.h"
#include "keyslots/kdf.h"
#include "keyslots/secret.h"

namespace latchkey::keyslots {

// One way in: a LUKS keyslot, a BitLocker protector.
struct Protector {
  unsigned number = 0;      // as the format counts: keyslot 0..31
  std::string label;        // "keyslot 0"
  std::string description;  // "argon2id, 1 GiB, 4 passes", "pbkdf2-sha256, 1000000 iterations"
  std::vector<SecretKind> takes;  // which kinds of secret may fit
  int priority = 1;               // 2 first, 1 normal, 0 only when named with --keyslot
  unsigned opens = 0;             // index of the volume key it gives (see VolumeHeader::key_count)
  std::string unusable;           // why it cannot be used ("unbound: ..."); empty where it can
  // What BitLocker knows of its protectors; empty elsewhere.
  std::string id = {};       // GUID, upper case without braces, as Windows shows it
  std::string created = {};  // "2025-09-13 14:00:16" UTC
  std::string matches = {};  // which file or secret belongs to it: "file 4381F759-....BEK, or ..."
  // False: a way in that is written nowhere on the disk (a raw volume key); `info` leaves it out.
  bool on_disk = true;
  // False: the key lies beside it (BitLocker's clear key); it is tried first, with no secret.
  bool needs_secret = true;
};

// What `info` shows of a volume; every text is printable.
struct VolumeFacts {
  std::string format;  // "LUKS1", "LUKS2": stable, used by --json
  std::string cipher;  // "aes-xts-plain64"
  unsigned key_bits = 0;
  std::uint32_t sector_bytes = 512;
  std::string uuid;
  std::string label;
  std::uint64_t payload_offset = 0;  // bytes from the start of the data device
  std::uint64_t payload_bytes = 0;   // as much as the data device holds
  bool detached = false;
  std::string state;     // "", or what is under way: "re-encryption, forward, 43% done"
  std::string unusable;  // why the volume cannot be opened with any key; else empty
};

// A ciphered (or, with no key, clear) range of one of the volume's devices, and how to read it.
struct Layer {
  // kHeader: the detached header, or the data device itself. kMade: `made`, read-only.
  enum class Source { kData, kHeader, kMade };
  Source source = Source::kData;
  std::uint64_t offset = 0;  // bytes in that device
  std::uint64_t length = 0;  // bytes; rounded down to whole sectors by the cipher
  // Absent: the bytes are plain. Its first_tweak belongs to the first sector of the range.
  std::optional<engine::CipherSpec> cipher;
  std::size_t key = 0;  // index into UnlockedVolume::keys; ciphered layers only
  // kMade only: bytes the format makes up (Vista's boot sector, a replayed log); never ciphered.
  std::vector<std::byte> made = {};
};

struct UnlockedVolume {
  std::vector<engine::SecretBytes> keys;
  std::vector<Layer> layers;
  std::unique_ptr<engine::PieceMap> map;  // device i of the map is layer i
  std::uint32_t sector_bytes = 512;
  std::string read_only_reason;  // why it must not be written even when asked to; else empty
  std::string opened_by;         // "keyslot 1 with key file 'x.key'"
};

// One secret that the volume stores under its own key, to be shown to its owner.
struct StoredSecret {
  unsigned protector = 0;  // its number
  Secret secret;
};

// The devices a volume lives on. `header` is null unless the header is detached.
struct VolumeSource {
  engine::DevicePtr data;
  engine::DevicePtr header;
  const engine::DevicePtr& header_device() const { return header ? header : data; }
};

class VolumeHeader {
 public:
  virtual ~VolumeHeader() = default;

  virtual const VolumeFacts& facts() const = 0;
  virtual std::span<const Protector> protectors() const = 0;  // every one in use, in order
  // What messages call one: "keyslot", "protector".
  virtual std::string protector_noun() const { return "keyslot"; }

  // How many volume keys the layout needs: 1, 2 in the middle of a re-encryption, or 0 where
  // nothing is encrypted any more.
  virtual std::size_t key_count() const { return 1; }

  // Does a protector cost no more than a moment of one core? Then pairs are tried in parallel.
  virtual bool tries_in_parallel() const { return false; }

  // One secret on one protector: the volume key it opens, verified against the header's digest.
  // kWrongKey; kUsage: no such secret can be; anything else: the protector could not be tried.
  // Spends at most `limits`.
  virtual engine::Result<engine::SecretBytes> try_secret(const Protector& protector,
                                                         const Secret& secret,
                                                         const KdfLimits& limits) const = 0;

  // Enough keys are here: keys[i] is the one that protectors with opens == i give, empty where none
  // did; key_count() of them are not empty. The layout. May read the devices, to find out how far
  // an interrupted re-encryption got; refuses (kDamaged, kNotSupported) rather than guess.
  virtual engine::Result<UnlockedVolume> layout(std::vector<engine::SecretBytes> keys) const = 0;

  // The secrets of protectors that an opened volume stores for its owner: BitLocker's recovery
  // passwords. kNotSupported where the format stores none.
  virtual engine::Result<std::vector<StoredSecret>> stored_secrets(
      const std::vector<engine::SecretBytes>& keys) const;
};

// Null where the device holds no volume this project knows. An error where it does but the header
// cannot be used at all (kDamaged, kNotSupported); what was got around is a notice.
engine::Result<std::unique_ptr<VolumeHeader>> probe_volume(const VolumeSource& source,
                                                           engine::Notices& notices);

// Builds the devices: one per layer, the map above. `writable` is a wish; the result is writable
// only if the volume and the devices below are.
engine::Result<engine::DevicePtr> plaintext_of(const VolumeSource& source, UnlockedVolume volume,
                                               bool writable);

}  // namespace latchkey::keyslots
