// The logical volumes of an image: LVM on its partitions, or inside those that are unlocked.
#pragma once

#include <string>

#include "engine/result.h"
#include "tools/image.h"

namespace latchkey::tools {

// Looks at every region as it can be seen now and sets image.logical_volumes and
// image.logical_notices anew.
void find_logical_volumes(Image& image);

// The one with that name: "rootvg/rootlv", or "rootlv" where there is only one. Errors: kUsage
// (none; the message lists those there are), kNotSupported (it is there and its bytes cannot be
// given).
engine::Result<const FoundLogicalVolume*> named_volume(const Image& image, const std::string& name);

// What `mount` means without --volume, of those on region `on`: the only one with a file system, or
// the root of the usual layout of Azure's images (rootlv beside usrlv, varlv, homelv, tmplv or
// optlv). Errors: kUsage where several could be meant, kNotSupported where none can be mounted.
engine::Result<const FoundLogicalVolume*> likely_volume(const Image& image, const std::string& on);

// "rootvg/rootlv (xfs 'root')", for lists.
std::string describe(const FoundLogicalVolume& volume);

}  // namespace latchkey::tools
