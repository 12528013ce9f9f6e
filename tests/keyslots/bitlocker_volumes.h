// BitLocker volumes made by the builder and opened by Latchkey, for the tests of its reader.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "tests/keyslots/volume_fixture.h"
#include "tests/support/bitlocker_builder.h"

namespace latchkey::test {

inline constexpr std::size_t kMebibyte = std::size_t{1} << 20;

inline FveProtector protector_of(FveProtector::Kind kind) {
  FveProtector protector;
  protector.kind = kind;
  return protector;
}

inline FveProtector passphrase_protector(std::u16string text) {
  FveProtector protector = protector_of(FveProtector::Kind::kPassphrase);
  protector.passphrase = std::move(text);
  return protector;
}

inline FveSpec spec_with(std::vector<FveProtector> protectors) {
  FveSpec spec;
  spec.protectors = std::move(protectors);
  return spec;
}

// An external key costs no stretch: most tests use one.
inline FveSpec plain_spec() {
  return spec_with({protector_of(FveProtector::Kind::kExternalKey)});
}

inline keyslots::Secret external_key(const FveWayIn& way_in) {
  return {keyslots::SecretKind::kExternalKey, engine::SecretBytes::copy_of(way_in.external_key),
          "BEK file", way_in.guid};
}

inline keyslots::Secret recovery_password(std::string_view digits) {
  return {keyslots::SecretKind::kRecoveryPassword,
          engine::SecretBytes::copy_of(engine::as_bytes(digits)), "recovery password"};
}

inline keyslots::Secret raw_key(const ByteVector& bytes) {
  return {keyslots::SecretKind::kRawKey, engine::SecretBytes::copy_of(bytes), "raw key"};
}

// The image can be written, so that what keeps the volume from being written is the volume.
inline OpenedVolume open_fve(ByteVector image, const keyslots::KeyRing& ring,
                             bool writable = false) {
  auto device = std::make_shared<engine::MemoryDevice>(std::move(image), true);
  return open_volume({std::move(device), nullptr}, ring, {}, writable);
}

// With the first external key, if there is one.
inline OpenedVolume open_fve(const FveVolume& volume, bool writable = false) {
  for (const FveWayIn& way_in : volume.ways_in) {
    if (way_in.external_key.empty()) continue;
    return open_fve(volume.image, ring_of(external_key(way_in)), writable);
  }
  return open_fve(volume.image, keyslots::KeyRing(), writable);
}

inline std::string notices_of(const OpenedVolume& volume) {
  std::string text;
  for (const engine::Notice& notice : volume.notices.items()) {
    text += notice.where + ": " + notice.text + "\n";
  }
  return text;
}

}  // namespace latchkey::test
