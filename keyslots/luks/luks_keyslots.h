// Changing the keys of a LUKS volume: `latchkey key add`, `remove`, `change`.
//
// Every operation leaves, at each instant and whatever unsynced writes a power cut drops, a volume
// that opens with the old key, the new key or both: key material is written, synced and read back
// before the header names it, and destroyed only after the header has forgotten it in every copy.
//
// The caller has opened the volume: `volume_key` is what find_keys() gave, and is checked against
// the header's digest once more before it is stored under another secret. The device must outlive
// the object. One thread. Errors: kUsage (no such slot, one in use), kRefused (no room), kDamaged,
// kNotSupported (the header requires what is not known), kSystem.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/result.h"
#include "engine/secret_bytes.h"
#include "keyslots/kdf.h"

namespace latchkey::keyslots {

struct LuksToken {
  unsigned id = 0;
  std::string type;  // printable
  std::vector<unsigned> keyslots;
};

class LuksKeyslots {
 public:
  virtual ~LuksKeyslots() = default;

  virtual unsigned version() const = 0;
  virtual std::uint32_t key_bytes() const = 0;  // of the volume key
  // The hash LUKS1's key derivation has to use; empty where it is free.
  virtual std::string required_hash() const { return {}; }
  virtual std::vector<unsigned> in_use() const = 0;  // in order

  // The slot it went to: `slot`, or the first free one. `cost` has no salt yet.
  virtual engine::Result<unsigned> add(const engine::SecretBytes& volume_key, engine::Bytes secret,
                                       const KdfSpec& cost, std::optional<unsigned> slot) = 0;
  // Gives the slot another secret; the slot it is in afterwards (LUKS1: another one).
  virtual engine::Result<unsigned> change(const engine::SecretBytes& volume_key, unsigned slot,
                                          engine::Bytes secret, const KdfSpec& cost) = 0;
  // Also the last one: whether that is wanted is for the caller to ask.
  virtual engine::Result<void> remove(unsigned slot) = 0;
  // Overwrites what no slot uses: what a removal left that was cut short between its two steps. The
  // bytes overwritten; what the device does not have is left out. kDamaged: data lies there.
  virtual engine::Result<std::uint64_t> destroy_unused() = 0;

  // LUKS2 alone; else kNotSupported. 0: only when named, 1: normal, 2: first.
  virtual engine::Result<void> set_priority(unsigned slot, int priority) = 0;
  virtual engine::Result<void> set_label(const std::string& label) = 0;
  // A token that only says what the slot is for.
  virtual engine::Result<void> add_token(const std::string& type, unsigned slot) = 0;
};

// What a LUKS2 header says of its tokens; none for LUKS1. Whatever state the volume is in.
std::vector<LuksToken> luks_tokens(engine::BlockDevice& header);

// kDamaged where the device holds no LUKS header that can be used.
engine::Result<std::unique_ptr<LuksKeyslots>> open_luks_keyslots(engine::BlockDevice& header);

// The two formats; see open_luks_keyslots().
engine::Result<std::unique_ptr<LuksKeyslots>> open_luks1_keyslots(engine::BlockDevice& header);
engine::Result<std::unique_ptr<LuksKeyslots>> open_luks2_keyslots(engine::BlockDevice& header);

}  // namespace latchkey::keyslots
