#include "engine/ciphers/xts_cipher.h"

#include <cassert>
#include <cstring>
#include <limits>
#include <new>

namespace latchkey::engine::xts {
namespace {

const unsigned char* uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

class XtsCipher final : public SectorCipher {
 public:
  XtsCipher(const CipherSpec& spec, const SecretBytes& key, const Kernel& kernel)
      : kernel_(kernel),
        sector_bytes_(spec.sector_bytes),
        first_tweak_(spec.first_tweak),
        tweak_stride_(spec.tweak_stride),
        tweak_mask_(spec.iv == "plain" ? std::numeric_limits<std::uint32_t>::max()
                                       : std::numeric_limits<std::uint64_t>::max()),
        memory_(sizeof(Schedule)),
        schedule_(*new (memory_.data()) Schedule) {
    expand_key(uchar(key.data()), key.size(), schedule_);
  }

  std::uint32_t sector_bytes() const noexcept override { return sector_bytes_; }
  void encrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    kernel_.encrypt(schedule_, request(first_sector, from, into));
  }
  void decrypt(std::uint64_t first_sector, Bytes from, MutableBytes into) const noexcept override {
    kernel_.decrypt(schedule_, request(first_sector, from, into));
  }

 private:
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

  const Kernel& kernel_;
  const std::uint32_t sector_bytes_;
  const std::uint64_t first_tweak_;
  const std::uint32_t tweak_stride_;
  const std::uint64_t tweak_mask_;
  SecretBytes memory_;  // locked and wiped; holds the schedule
  Schedule& schedule_;
};

}  // namespace

bool is_kernel_spec(const CipherSpec& spec, std::size_t key_bytes) {
  return spec.algorithm == "aes" && spec.mode == "xts" && spec.iv_hash.empty() &&
         (spec.iv == "plain" || spec.iv == "plain64") && (key_bytes == 32 || key_bytes == 64);
}

std::unique_ptr<SectorCipher> make_xts_cipher(const CipherSpec& spec, const SecretBytes& key,
                                              const Kernel& kernel) {
  return std::make_unique<XtsCipher>(spec, key, kernel);
}

}  // namespace latchkey::engine::xts
