// The volume behind a sound LUKS2 header: its facts, its key slots, and where its bytes are.
// Internal to luks2*.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "keyslots/luks/luks2_header.h"
#include "keyslots/luks/luks2_reencrypt.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

class Luks2Volume final : public VolumeHeader {
 public:
  Luks2Volume(VolumeSource source, Luks2Header header, engine::Notices& notices);

  const VolumeFacts& facts() const override { return facts_; }
  std::span<const Protector> protectors() const override { return protectors_; }
  std::size_t key_count() const override { return key_digests_.size(); }
  engine::Result<engine::SecretBytes> try_secret(const Protector& protector, const Secret& secret,
                                                 const KdfLimits& limits) const override;
  engine::Result<UnlockedVolume> layout(std::vector<engine::SecretBytes> keys) const override;

 private:
  engine::Result<UnlockedVolume> layout_under_reencryption(
      std::vector<engine::SecretBytes> keys) const;
  const Luks2Metadata& metadata() const { return header_.metadata; }
  void choose_digests();
  void describe_payload(engine::Notices& notices);
  void list_protectors();
  std::string why_unusable();
  std::string why_slot_unusable(const Luks2Keyslot& slot) const;

  const VolumeSource source_;
  const Luks2Header header_;
  std::vector<const Luks2Segment*> active_;  // what the volume is now, in order
  const Luks2Segment* main_ = nullptr;       // the one `info` describes
  std::uint32_t sector_bytes_ = 512;         // the largest of any of them
  std::optional<Luks2Reencryption> reencryption_;
  std::vector<const Luks2Digest*> key_digests_;  // in the order layout() takes the keys
  VolumeFacts facts_;
  std::vector<Protector> protectors_;
};

}  // namespace latchkey::keyslots
