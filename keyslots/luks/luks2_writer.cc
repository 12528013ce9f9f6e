#include "keyslots/luks/luks2_writer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "engine/read_bytes.h"
#include "keyslots/luks/luks1_header.h"
#include "keyslots/luks/luks2_layout.h"
#include "keyslots/random.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::MutableBytes;
using engine::Result;

namespace {

constexpr const char* kWhere = "luks2 header";

void put_text(MutableBytes into, std::size_t at, std::size_t field_bytes, std::string_view text) {
  const Bytes from = engine::as_bytes(text.substr(0, field_bytes - 1));
  const MutableBytes field = into.subspan(at, field_bytes);
  std::fill(std::copy(from.begin(), from.end(), field.begin()), field.end(), std::byte{0});
}

Result<void> check_requirements(const Luks2Metadata& metadata) {
  if (metadata.requirements.empty()) return {};
  const std::string& name = metadata.requirements.front();
  const bool reencrypt = name.find("reencrypt") != std::string::npos;
  return Error(ErrorCode::kNotSupported,
               reencrypt ? "a re-encryption of the volume is under way: its header is not changed"
                         : fmt::format("the header requires '{}', which is not known: it is not "
                                       "changed",
                                       engine::printable(name)))
      .with_hint(reencrypt ? "finish it first: cryptsetup reencrypt --resume-only" : "");
}

std::uint64_t header_bytes_of(const Luks2Content& content) {
  return engine::load_be<std::uint64_t>(content.binary, luks2_at::kHeaderBytes);
}

}  // namespace

Result<void> write_synced(engine::BlockDevice& device, std::uint64_t offset, Bytes bytes,
                          const std::string& what) {
  if (auto s = device.write(offset, bytes); !s.ok()) {
    return Error::system(fmt::format("cannot write the {} at byte {}", what, offset),
                         s.sys_errno());
  }
  if (auto s = device.flush(); !s.ok()) {
    return Error::system(fmt::format("cannot sync the {} at byte {}", what, offset), s.sys_errno());
  }
  auto back = engine::read_bytes(device, offset, bytes.size(), what);
  if (!back) return std::move(back).error();
  if (!std::equal(bytes.begin(), bytes.end(), back->begin())) {
    return Error(ErrorCode::kSystem, fmt::format("the {} at byte {} reads back as other bytes than "
                                                 "were written",
                                                 what, offset));
  }
  return {};
}

Result<void> destroy_range(engine::BlockDevice& device, std::uint64_t offset,
                           std::uint64_t length) {
  constexpr std::uint64_t kPiece = std::uint64_t{1} << 20;
  std::vector<std::byte> noise(std::min(length, kPiece));
  for (std::uint64_t done = 0; done < length; done += noise.size()) {
    const MutableBytes piece =
        MutableBytes(noise).first(std::min<std::uint64_t>(noise.size(), length - done));
    if (auto filled = fill_random(piece); !filled) return filled;
    if (auto s = device.write(offset + done, piece); !s.ok()) {
      return Error::system(fmt::format("cannot overwrite key material at byte {}", offset + done),
                           s.sys_errno());
    }
  }
  if (auto s = device.flush(); !s.ok()) {
    return Error::system(fmt::format("cannot sync key material at byte {}", offset), s.sys_errno());
  }
  return {};
}

Result<void> check_luks2_label(const std::string& label) {
  if (label.size() >= kLuks2LabelBytes) {
    return Error(ErrorCode::kUsage, fmt::format("a label of {} bytes is too long: {} fit",
                                                label.size(), kLuks2LabelBytes - 1));
  }
  if (engine::printable(label) == label) return {};
  return Error(ErrorCode::kUsage, "a label of UTF-8 text without control characters is wanted");
}

std::vector<std::byte> make_luks2_binary(std::uint64_t header_bytes, const std::string& uuid,
                                         const std::string& label, const std::string& subsystem) {
  std::vector<std::byte> binary(kLuks2BinaryBytes);
  const MutableBytes into(binary);
  engine::store_be<std::uint16_t>(into, luks2_at::kVersion, kLuks2Version);
  engine::store_be<std::uint64_t>(into, luks2_at::kHeaderBytes, header_bytes);
  engine::store_be<std::uint64_t>(into, luks2_at::kSequence, 1);
  put_text(into, luks2_at::kLabel, kLuks2LabelBytes, label);
  put_text(into, luks2_at::kChecksumName, kLuks2ChecksumNameBytes, "sha256");
  put_text(into, luks2_at::kUuid, kLuks2UuidBytes, uuid);
  put_text(into, luks2_at::kSubsystem, kLuks2LabelBytes, subsystem);
  return binary;
}

Result<std::vector<std::byte>> make_luks2_copy(const Luks2Content& content, std::uint64_t offset) {
  std::vector<std::byte> copy(header_bytes_of(content));
  const MutableBytes bytes(copy);
  // The text ends with a NUL.
  if (content.json.size() >= copy.size() - kLuks2BinaryBytes) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("the metadata of {} bytes does not fit the {} bytes it has",
                             content.json.size(), copy.size() - kLuks2BinaryBytes))
        .with_hint("remove a key slot or a token");
  }
  std::copy(content.binary.begin(), content.binary.end(), copy.begin());
  const Bytes magic = engine::as_bytes(offset == 0 ? kLuksMagic : kLuks2SecondMagic);
  std::copy(magic.begin(), magic.end(), copy.begin());
  engine::store_be<std::uint64_t>(bytes, luks2_at::kOffset, offset);
  if (auto r = fill_random(bytes.subspan(luks2_at::kSalt, kLuks2SaltBytes)); !r) {
    return std::move(r).error();
  }
  const Bytes json = engine::as_bytes(content.json);
  std::copy(json.begin(), json.end(), copy.begin() + kLuks2BinaryBytes);
  const MutableBytes field = bytes.subspan(luks2_at::kChecksum, kLuks2ChecksumBytes);
  std::fill(field.begin(), field.end(), std::byte{0});
  auto sum = luks2_checksum(bytes);
  if (!sum) return std::move(sum).error();
  std::copy(sum->begin(), sum->end(), field.begin());
  return copy;
}

Result<void> write_luks2_copies(engine::BlockDevice& device, const Luks2Content& content,
                                CopyOrder order) {
  const std::array<std::uint64_t, 2> places =
      order == CopyOrder::kFirstFirst ? std::array<std::uint64_t, 2>{0, header_bytes_of(content)}
                                      : std::array<std::uint64_t, 2>{header_bytes_of(content), 0};
  std::array<std::vector<std::byte>, 2> copies;
  for (std::size_t i = 0; i < copies.size(); ++i) {
    auto copy = make_luks2_copy(content, places[i]);
    if (!copy) return std::move(copy).error().within(kWhere);
    if (auto sound = parse_luks2_copy(*copy, places[i]); !sound) {
      return std::move(sound).error().within("the header that was about to be written");
    }
    copies[i] = std::move(*copy);
  }
  for (std::size_t i = 0; i < copies.size(); ++i) {
    if (auto r = write_synced(device, places[i], copies[i], kWhere); !r) return r;
  }
  return {};
}

bool same_luks2_content(const Luks2Copy& a, const Luks2Copy& b) {
  const Luks2Header& one = a.header.value();
  const Luks2Header& other = b.header.value();
  return one.sequence == other.sequence && one.uuid == other.uuid && one.label == other.label &&
         one.subsystem == other.subsystem && a.json() == b.json();
}

Luks2Store::Luks2Store(engine::BlockDevice& device, const Luks2Copies& copies) : device_(&device) {
  const Luks2Copy& newest = *copies.newest();
  header_ = newest.header.value();
  content_.binary.assign(newest.bytes.begin(), newest.bytes.begin() + kLuks2BinaryBytes);
  content_.json = newest.json();
  const bool first_counts = &newest == &copies.first;
  const bool both = copies.first.sound() && copies.second.sound() &&
                    same_luks2_content(copies.first, copies.second);
  order_ = !both && first_counts ? CopyOrder::kSecondFirst : CopyOrder::kFirstFirst;
}

Result<Luks2Store> Luks2Store::open(engine::BlockDevice& device) {
  const Luks2Copies copies = read_luks2_copies(device);
  const Luks2Copy* newest = copies.newest();
  if (newest == nullptr) {
    return Error(ErrorCode::kDamaged, "luks2 header: neither copy of it is sound");
  }
  if (auto r = check_requirements(newest->header->metadata); !r) return std::move(r).error();
  return Luks2Store(device, copies);
}

Result<void> Luks2Store::write(Luks2Content content) {
  const std::uint64_t sequence = header_.sequence + 1;
  engine::store_be<std::uint64_t>(content.binary, luks2_at::kSequence, sequence);
  if (auto r = write_luks2_copies(*device_, content, order_); !r) return r;
  auto metadata = parse_luks2_json(content.json);
  if (!metadata) return std::move(metadata).error();
  header_.metadata = std::move(*metadata);
  header_.sequence = sequence;
  content_ = std::move(content);
  order_ = CopyOrder::kFirstFirst;
  return {};
}

Result<void> Luks2Store::commit(std::string json) {
  return write({content_.binary, std::move(json)});
}

Result<void> Luks2Store::set_label(const std::string& label) {
  if (auto fine = check_luks2_label(label); !fine) return fine;
  Luks2Content content = content_;
  put_text(content.binary, luks2_at::kLabel, kLuks2LabelBytes, label);
  if (auto r = write(std::move(content)); !r) return r;
  header_.label = engine::printable(label);
  return {};
}

}  // namespace latchkey::keyslots
