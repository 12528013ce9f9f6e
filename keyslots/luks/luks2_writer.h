// Writing the two copies of a LUKS2 header so that one of them is sound at every instant (LUKS2
// on-disk format 1.1, section 2.4).
//
// The copy that is not relied on is written and synced before the other one is touched. A new
// header has a sequence number one higher, and each copy a salt and checksum of its own, as
// cryptsetup writes them. What the binary header holds besides stays as it was.
// One thread; the device is the header's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_device.h"
#include "engine/bytes.h"
#include "engine/result.h"
#include "keyslots/luks/luks2_header.h"

namespace latchkey::keyslots {

// What both copies will say. `binary` is a binary header whose magic, offset, salt and checksum
// will be made anew.
struct Luks2Content {
  std::vector<std::byte> binary;
  std::string json;
};

// A binary header for a new volume: texts are cut by the caller to what fits.
std::vector<std::byte> make_luks2_binary(std::uint64_t header_bytes, const std::string& uuid,
                                         const std::string& label, const std::string& subsystem);

// kUsage for a label or subsystem that does not fit its 47 bytes, or holds what no terminal should
// be sent (engine::printable()).
engine::Result<void> check_luks2_label(const std::string& label);

// One copy, ready to be written at `offset`. kNotSupported: the JSON does not fit.
engine::Result<std::vector<std::byte>> make_luks2_copy(const Luks2Content& content,
                                                       std::uint64_t offset);

// Which copy goes first.
enum class CopyOrder { kFirstFirst, kSecondFirst };

// Both copies, each synced before this returns. Errors: kSystem; kDamaged where `content` is
// nothing this project would open again (and then nothing is written).
engine::Result<void> write_luks2_copies(engine::BlockDevice& device, const Luks2Content& content,
                                        CopyOrder order);

// Do two sound copies say the same? Salt and checksum are each one's own.
bool same_luks2_content(const Luks2Copy& a, const Luks2Copy& b);

// A header that is being changed. The device must outlive it.
class Luks2Store {
 public:
  // kDamaged where no copy is sound, kNotSupported where the header requires a feature that
  // changing it could break: a re-encryption under way, or something unknown.
  static engine::Result<Luks2Store> open(engine::BlockDevice& device);

  engine::BlockDevice& device() const { return *device_; }
  const Luks2Header& header() const { return header_; }
  const Luks2Metadata& metadata() const { return header_.metadata; }
  const std::string& json() const { return content_.json; }

  // Makes `json` what the header says; `header()` is then the new one.
  engine::Result<void> commit(std::string json);
  engine::Result<void> set_label(const std::string& label);

 private:
  Luks2Store(engine::BlockDevice& device, const Luks2Copies& copies);
  engine::Result<void> write(Luks2Content content);

  engine::BlockDevice* device_;
  Luks2Header header_;
  Luks2Content content_;
  CopyOrder order_;
};

// Writes and syncs, and reads back what has come out of it.
engine::Result<void> write_synced(engine::BlockDevice& device, std::uint64_t offset,
                                  engine::Bytes bytes, const std::string& what);
// Overwrites a range with random bytes and syncs.
engine::Result<void> destroy_range(engine::BlockDevice& device, std::uint64_t offset,
                                   std::uint64_t length);

}  // namespace latchkey::keyslots
