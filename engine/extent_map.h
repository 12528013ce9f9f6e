// "Where does byte x live": the half of every format that is not cryptography. A partition, a VHD's
// block table, a LUKS payload, a disk whose encrypted partitions are replaced by their plaintext:
// each is an ExtentMap, and MapDevice (map_device.h) turns it into a device.
//
// A map does no I/O on data; one that lives on disk reads and writes only its own metadata.
// Thread-safe. Errors are IoStatus: kDamaged where a table entry cannot be true.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/io_status.h"

namespace latchkey::engine {

enum class Placement : std::uint8_t {
  kData,         // bytes of device `device` at `offset`
  kUnallocated,  // reads as zeros; a write makes the map allocate()
  kZero,         // reads as zeros; takes no write (kSealed)
  kBlank,        // reads as zeros; takes zeros, without effect, and nothing else (kOnlyZeros)
};

struct MappedExtent {
  Placement placement = Placement::kZero;
  std::size_t device = 0;    // index into the MapDevice's devices below; kData only
  std::uint64_t offset = 0;  // in that device; kData only
  std::uint64_t length = 0;  // bytes this answer holds for, 0 < length <= asked
};

class ExtentMap {
 public:
  virtual ~ExtentMap() = default;
  ExtentMap() = default;
  ExtentMap(const ExtentMap&) = delete;
  ExtentMap& operator=(const ExtentMap&) = delete;

  // Where reads of [offset, offset + out.length) go. May page a piece of the table in.
  virtual IoStatus lookup(std::uint64_t offset, std::uint64_t length,
                          MappedExtent& out) const noexcept = 0;

  // Where writes go: like lookup(), but an unallocated range gets a place first. Idempotent: a
  // second writer of the same block gets the same extent. In memory only; the host range reads as
  // zeros before any lookup can return it, and is never reused while the map lives.
  // Default: lookup(), for maps that do not grow (an unallocated range there is kSealed).
  virtual IoStatus allocate(std::uint64_t offset, std::uint64_t length,
                            MappedExtent& out) noexcept {
    return lookup(offset, length, out);
  }

  // Durability, called by MapDevice::flush alone, one flush at a time:
  //   begin_commit()  sets aside the table entries changed so far; false: nothing to commit
  //   sync of the devices below: data and block bitmaps of those entries are now on disk
  //   commit()        writes the entries set aside, and only those
  //   sync again
  virtual bool begin_commit() noexcept { return false; }
  virtual IoStatus commit() noexcept { return {}; }
};

}  // namespace latchkey::engine
