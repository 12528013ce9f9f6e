#include "engine/ciphers/kernel_cipher.h"

#include <cassert>
#include <limits>
#include <new>
#include <utility>

#include "engine/ciphers/openssl_cipher.h"
#include "engine/ciphers/unsupported_cipher.h"

namespace latchkey::engine::kernels {
namespace {

const unsigned char* uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

class KernelCipher final : public SectorCipher {
 public:
  KernelCipher(const CipherSpec& spec, const KernelSet& set, const Mode& mode)
      : set_(set),
        mode_(mode),
        sector_bytes_(spec.sector_bytes),
        // These two count bytes.
        scale_(spec.iv == "eboiv" || spec.iv == "elephant" ? spec.sector_bytes : 1),
        first_tweak_(spec.first_tweak * scale_),
        tweak_stride_(spec.tweak_stride * scale_),
        memory_(sizeof(Schedule)),
        schedule_(*new (memory_.data()) Schedule()) {
    if (spec.iv == "plain") tweak_mask_ = std::numeric_limits<std::uint32_t>::max();
  }

  // `data` is what encrypts the sectors. The others may be empty: see Schedule.
  void set_keys(Bytes data, Bytes tweak, Bytes sector) {
    expand(data, schedule_.encrypt);
    set_.invert_keys(schedule_.encrypt, schedule_.decrypt);
    if (!tweak.empty()) expand(tweak, schedule_.tweak);
    if (!sector.empty()) expand(sector, schedule_.sector);
  }

  std::uint32_t sector_bytes() const noexcept override { return sector_bytes_; }
  std::string_view variant() const noexcept override { return set_.name; }
  void encrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    mode_.encrypt(schedule_, request(first_sector, from, into));
  }
  void decrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    mode_.decrypt(schedule_, request(first_sector, from, into));
  }

 private:
  void expand(Bytes key, RoundKeys& keys) const {
    set_.expand_key(uchar(key.data()), key.size(), keys);
  }
  Request request(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept {
    assert(from.size() == into.size() && from.size() % sector_bytes_ == 0);
    return {.from = uchar(from.data()),
            .into = uchar(into.data()),
            .sectors = from.size() / sector_bytes_,
            .sector_bytes = sector_bytes_,
            .first_tweak = first_tweak_ + first_sector * tweak_stride_,
            .tweak_stride = tweak_stride_,
            .tweak_mask = tweak_mask_};
  }

  const KernelSet& set_;
  const Mode& mode_;
  const std::uint32_t sector_bytes_;
  const std::uint64_t scale_;
  const std::uint64_t first_tweak_;
  const std::uint64_t tweak_stride_;
  std::uint64_t tweak_mask_ = std::numeric_limits<std::uint64_t>::max();
  SecretBytes memory_;  // locked and wiped; holds the schedule
  Schedule& schedule_;
};

}  // namespace

bool has_kernel(const CipherSpec& spec, std::size_t key_bytes) {
  if (spec.algorithm != "aes" || spec.iv_hash.empty() == (spec.iv == "essiv")) return false;
  const bool plain = spec.iv == "plain" || spec.iv == "plain64";
  if (spec.mode == "xts") return plain && (key_bytes == 32 || key_bytes == 64);
  if (spec.mode != "cbc") return false;
  if (spec.iv == "elephant") return key_bytes == 32 || key_bytes == 64;
  const bool rule = plain || spec.iv == "eboiv" || spec.iv == "essiv";
  return rule && (key_bytes == 16 || key_bytes == 24 || key_bytes == 32);
}

Result<std::unique_ptr<SectorCipher>> make_kernel_cipher(const CipherSpec& spec,
                                                         const SecretBytes& key,
                                                         const KernelSet& set) {
  const Bytes all = key.span();
  const Bytes first = all.first(key.size() / 2);
  const Bytes second = all.subspan(key.size() / 2);
  const bool elephant = spec.iv == "elephant";
  const Mode& mode = spec.mode == "xts" ? set.xts : elephant ? set.elephant : set.cbc;
  auto made = std::make_unique<KernelCipher>(spec, set, mode);
  if (spec.mode == "xts") {
    made->set_keys(first, second, {});
  } else if (elephant) {
    made->set_keys(first, first, second);
  } else if (spec.iv == "eboiv") {
    made->set_keys(all, all, {});
  } else if (spec.iv == "essiv") {
    auto hashed = essiv_key(spec, key);
    if (!hashed) return std::move(hashed).error();
    if (hashed->size() != 16 && hashed->size() != 24 && hashed->size() != 32) {
      return unsupported_cipher(spec, "no cipher for its tweaks takes a key of that size");
    }
    made->set_keys(all, hashed->span(), {});
  } else {
    made->set_keys(all, {}, {});
  }
  return std::unique_ptr<SectorCipher>(std::move(made));
}

}  // namespace latchkey::engine::kernels
