#include "keyslots/luks/luks1_header.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "keyslots/luks/luks_area.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::load_be;
using engine::Result;

namespace {

constexpr std::uint32_t kMaxStripes = 16384;  // every writer uses 4000

Error damaged(std::string what) {
  return {ErrorCode::kDamaged, std::move(what)};
}

std::vector<std::byte> copy(Bytes bytes, std::size_t at, std::size_t length) {
  const Bytes part = bytes.subspan(at, length);
  return {part.begin(), part.end()};
}

Result<Luks1Slot> parse_slot(Bytes bytes, std::uint32_t key_bytes) {
  Luks1Slot slot;
  const auto state = load_be<std::uint32_t>(bytes, luks1_at::kSlotState);
  if (state != kLuks1Active && state != kLuks1Inactive) {
    return damaged(fmt::format("its state {:#x} is neither active nor inactive", state));
  }
  slot.active = state == kLuks1Active;
  slot.iterations = load_be<std::uint32_t>(bytes, luks1_at::kSlotIterations);
  slot.salt = copy(bytes, luks1_at::kSlotSalt, kLuks1SaltBytes);
  slot.offset = load_be<std::uint32_t>(bytes, luks1_at::kSlotOffset) * kLuks1SectorBytes;
  slot.stripes = load_be<std::uint32_t>(bytes, luks1_at::kSlotStripes);
  if (slot.stripes == 0 || slot.stripes > kMaxStripes) {
    return damaged(fmt::format("{} anti-forensic stripes", slot.stripes));
  }
  if (slot.active && slot.iterations == 0) return damaged("0 iterations");
  if (slot.offset < kLuks1HeaderBytes) {
    return damaged(fmt::format("its key material at byte {} lies inside the header", slot.offset));
  }
  slot.length = std::uint64_t{key_bytes} * slot.stripes;
  return slot;
}

std::uint64_t end_of(const Luks1Slot& slot) {
  return slot.offset + engine::round_up(slot.length, kLuks1SectorBytes);
}

// A writer that lets areas overlap destroys one key by writing another; an area that reaches into
// the payload hands encrypted data out as key material.
Result<void> check_areas(const Luks1Header& header) {
  std::array<std::size_t, kLuks1Slots> order{};
  for (std::size_t i = 0; i < kLuks1Slots; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return header.slots[a].offset < header.slots[b].offset;
  });
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    const Luks1Slot& slot = header.slots[order[i]];
    if (i > 0 && slot.offset < end_of(header.slots[order[i - 1]])) {
      return damaged(fmt::format("keyslots {} and {} overlap", order[i - 1], order[i]));
    }
    if (header.payload_offset != 0 && end_of(slot) > header.payload_offset) {
      return damaged(fmt::format("keyslot {} reaches into the payload (byte {} of {})", order[i],
                                 end_of(slot), header.payload_offset));
    }
  }
  return {};
}

}  // namespace

Error luks1_being_reencrypted() {
  return Error(ErrorCode::kNotSupported,
               "the re-encryption of this luks1 volume was interrupted: a part of it has another "
               "key, and only cryptsetup's files LUKS-UUID.log, .org and .new say which")
      .with_hint("cryptsetup reencrypt goes on with it, in the folder where those files are");
}

Result<Luks1Header> parse_luks1_header(Bytes bytes) {
  assert(bytes.size() >= kLuks1HeaderBytes);
  Luks1Header header;
  header.cipher_name = std::string(engine::text_field(bytes, luks1_at::kCipher, kLuks1TextBytes)) +
                       "-" +
                       std::string(engine::text_field(bytes, luks1_at::kMode, kLuks1TextBytes));
  header.hash = engine::text_field(bytes, luks1_at::kHash, kLuks1TextBytes);
  header.payload_offset = load_be<std::uint32_t>(bytes, luks1_at::kPayload) * kLuks1SectorBytes;
  header.key_bytes = load_be<std::uint32_t>(bytes, luks1_at::kKeyBytes);
  header.digest = copy(bytes, luks1_at::kDigest, kLuks1DigestBytes);
  header.digest_salt = copy(bytes, luks1_at::kDigestSalt, kLuks1SaltBytes);
  header.digest_iterations = load_be<std::uint32_t>(bytes, luks1_at::kDigestIterations);
  header.uuid = engine::printable(engine::text_field(bytes, luks1_at::kUuid, kLuks1UuidBytes));
  if (header.key_bytes == 0 || header.key_bytes > kMaxLuksKeyBytes) {
    return damaged(fmt::format("a volume key of {} bytes", header.key_bytes));
  }
  if (header.digest_iterations == 0) return damaged("a key digest with 0 iterations");
  if (header.payload_offset != 0 && header.payload_offset < kLuks1HeaderBytes) {
    return damaged(
        fmt::format("the payload at byte {} lies inside the header", header.payload_offset));
  }
  for (std::size_t i = 0; i < kLuks1Slots; ++i) {
    auto slot = parse_slot(bytes.subspan(luks1_at::kSlots + i * kLuks1SlotBytes, kLuks1SlotBytes),
                           header.key_bytes);
    if (!slot) return std::move(slot).error().within(fmt::format("keyslot {}", i));
    header.slots[i] = std::move(*slot);
  }
  if (auto sound = check_areas(header); !sound) return std::move(sound).error();
  return header;
}

}  // namespace latchkey::keyslots
