#include "keyslots/volume_header.h"

#include <array>

#include <fmt/format.h>

#include "engine/crypt_device.h"
#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "keyslots/bitlocker/bitlocker.h"
#include "keyslots/luks/luks1.h"
#include "keyslots/luks/luks2.h"

namespace latchkey::keyslots {

using engine::DevicePtr;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

using Probe = Result<std::unique_ptr<VolumeHeader>> (*)(const VolumeSource&, engine::Notices&);

// Every format that can be opened. Null means "not mine", an error "mine, but unusable".
constexpr std::array<Probe, 3> kProbes{open_luks1, open_luks2, open_bitlocker};

Result<DevicePtr> device_of(const VolumeSource& source, const UnlockedVolume& volume,
                            const Layer& layer) {
  if (layer.source == Layer::Source::kMade) {
    return DevicePtr(std::make_shared<engine::MemoryDevice>(layer.made));
  }
  const DevicePtr& below =
      layer.source == Layer::Source::kHeader ? source.header_device() : source.data;
  if (!below->in_range(layer.offset, layer.length)) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("the volume reaches from byte {} over {} bytes, its device ends at {}",
                             layer.offset, layer.length, below->size_bytes()));
  }
  if (!layer.cipher) return engine::make_slice(below, layer.offset, layer.length);
  auto cipher = engine::make_sector_cipher(*layer.cipher, volume.keys.at(layer.key));
  if (!cipher) return std::move(cipher).error();
  return engine::make_crypt_layer(below, layer.offset, layer.length, std::move(*cipher));
}

// Does the map add nothing to its only layer?
bool is_whole_layer(const UnlockedVolume& volume, const engine::BlockDevice& only) {
  const std::uint64_t size = volume.map->size_bytes();
  engine::MappedExtent extent;
  return only.size_bytes() == size && volume.map->lookup(0, size, extent).ok() &&
         extent.placement == engine::Placement::kData && extent.device == 0 && extent.offset == 0 &&
         extent.length == size;
}

}  // namespace

Result<std::vector<StoredSecret>> VolumeHeader::stored_secrets(
    const std::vector<engine::SecretBytes>& /*keys*/) const {
  return Error(ErrorCode::kNotSupported, facts().format + " volumes store no recovery passwords");
}

Result<std::unique_ptr<VolumeHeader>> probe_volume(const VolumeSource& source,
                                                   engine::Notices& notices) {
  // What cannot be read is no answer yet: a second copy may lie elsewhere.
  std::optional<Error> unread;
  for (const Probe probe : kProbes) {
    auto header = probe(source, notices);
    if (!header && header.error().code() == ErrorCode::kSystem) {
      if (!unread) unread = std::move(header).error();
      continue;
    }
    if (!header || *header != nullptr) return header;
  }
  if (unread) return std::move(*unread);
  return std::unique_ptr<VolumeHeader>();
}

Result<DevicePtr> plaintext_of(const VolumeSource& source, UnlockedVolume volume, bool writable) {
  // The image ends before its data begins: a header backup, or cut short. The key is right all the
  // same, and a notice of the header has said how much is missing.
  if (volume.map == nullptr || volume.map->size_bytes() == 0) {
    return DevicePtr(std::make_shared<engine::MemoryDevice>(std::vector<std::byte>()));
  }
  std::vector<DevicePtr> layers;
  bool can_write = writable && volume.read_only_reason.empty();
  for (const Layer& layer : volume.layers) {
    auto device = device_of(source, volume, layer);
    if (!device) return std::move(device).error();
    can_write = can_write && (*device)->writable();
    layers.push_back(std::move(*device));
  }
  if (layers.size() == 1 && layers[0]->writable() == can_write &&
      is_whole_layer(volume, *layers[0])) {
    return std::move(layers[0]);
  }
  const engine::Geometry geometry{.size_bytes = volume.map->size_bytes(),
                                  .sector_bytes = volume.sector_bytes,
                                  .writable = can_write};
  return DevicePtr(
      std::make_shared<engine::MapDevice>(std::move(layers), std::move(volume.map), geometry));
}

}  // namespace latchkey::keyslots
