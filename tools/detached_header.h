// The header of an encrypted root partition as Azure keeps it: the file luks/osluksheader on the
// clear /boot partition of the same disk. Found and used without --header.
//
// Which partition it belongs to is not written anywhere. A partition without any signature may be
// it; when the header opens, what it makes of the partition must be something that is recognised,
// or the partition stays closed: noise is never passed off as data.
#pragma once

#include "keyslots/key_ring.h"
#include "tools/image.h"

namespace latchkey::tools {

// Partitions whose type says that no encrypted volume is in them, whatever their bytes: for boot
// loaders, and an EFI system partition.
bool is_for_boot_code(const Region& region);

// For survey_image(), once every region is probed: gives the header found, if any, to each
// partition it may belong to. Reads the image; what was found and what could not be read is in
// image.notices.
void lift_detached_header(Image& image);

// For unlock_image(): tries the ring on the volumes whose header was lifted. Those it does not
// belong to stop being volumes, or keep an error where it belongs to none.
void unlock_lifted(Image& image, const keyslots::KeyRing& ring,
                   const keyslots::UnlockOptions& options, std::optional<unsigned> only_partition);

}  // namespace latchkey::tools
