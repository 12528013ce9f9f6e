// The recording of an encrypt-on-write conversion, for the volumes that tests build: the
// information (FVE-EOW, twice), a bitmap a region (FVE-EOWBM with two records FVE-EOWBR) and the
// log of the chunk in work (OLRDHEVF).
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/bitlocker_builder.h"

namespace latchkey::test {

class FveRecorder {
 public:
  struct Area {
    std::uint64_t offset;
    std::uint64_t length;
  };

  // Finds places behind the second copy of the metadata. `volume` must have its own places.
  FveRecorder(const FveSpec& spec, FveVolume& volume);

  // All that the recording takes, in steps of 4 KiB: its bytes read as zeros.
  const std::vector<Area>& areas() const { return areas_; }
  bool is_plain(std::uint64_t physical) const;
  // Into the image, whose other bytes must be there already.
  void write();

 private:
  struct Region {
    std::uint64_t offset;
    std::uint64_t length;
    std::uint64_t bitmap;  // where it is kept
    std::vector<bool> done;
  };

  std::uint64_t take(std::uint64_t length);
  void add_region(std::uint64_t offset, std::uint64_t length);
  void write_information();
  void write_bitmap(std::size_t index);
  void write_log();
  void put(std::uint64_t offset, const ByteVector& bytes);

  const FveSpec& spec_;
  FveVolume& volume_;
  std::vector<Region> regions_;
  std::vector<Area> areas_;
  std::uint64_t next_ = 0;
  std::uint64_t log_ = 0;
};

}  // namespace latchkey::test
