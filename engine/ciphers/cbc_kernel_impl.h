// AES-CBC for the vector types of vector_operations.h.
//
// Decryption: every block can be decrypted by itself, so a sector goes through in passes of kLanes
// registers, whose rounds run interleaved, and is xored with its ciphertext one block earlier.
// Encryption: within a sector each block waits for the one before it, so many sectors go side by
// side, a block of each at a time: one sector a block of a register, up to kLanes registers.
#pragma once

#include <utility>

#include "engine/ciphers/kernel_set.h"
#include "engine/ciphers/sector_tweaks_impl.h"

namespace latchkey::engine::kernels {

template <class V, int kRounds>
class CbcDecryption {
 public:
  static void run(const Schedule& schedule, const Request& request) {
    SectorTweaks<V> ivs;
    const unsigned char* from = request.from;
    unsigned char* into = request.into;
    for (std::size_t done = 0; done < request.sectors;) {
      const std::size_t sectors = ivs.make(schedule.tweak, request, done);
      for (std::size_t i = 0; i < sectors; ++i) {
        decrypt_sector(schedule.decrypt.key, ivs[i], from, into, request.sector_bytes);
        from += request.sector_bytes;
        into += request.sector_bytes;
      }
      done += sectors;
    }
  }

 private:
  using Reg = typename V::Reg;
  using Keys = const unsigned char (*)[16];
  static constexpr int kLanes = 8;
  static constexpr std::size_t kRegBytes = V::kBlocks * 16;
  static constexpr std::size_t kPassBytes = kLanes * kRegBytes;
  using Lanes = std::make_integer_sequence<int, kLanes>;

  static void decrypt_sector(Keys keys, const unsigned char* iv, const unsigned char* from,
                             unsigned char* into, std::size_t bytes) {
    Reg before = V::round_key(iv);  // its last block is the one before what comes next
    std::size_t at = 0;
    for (; bytes - at >= kPassBytes; at += kPassBytes) {
      before = decrypt_pass(keys, before, from + at, into + at, Lanes());
    }
    for (; bytes - at >= kRegBytes; at += kRegBytes) {
      const Reg data = V::load(from + at);
      V::store(into + at, decrypt_one(keys, before, data));
      before = data;
    }
    if (at < bytes) {  // fewer blocks than a register holds
      alignas(64) unsigned char rest[kRegBytes] = {};
      __builtin_memcpy(rest, from + at, bytes - at);
      V::store(rest, decrypt_one(keys, before, V::load(rest)));
      __builtin_memcpy(into + at, rest, bytes - at);
    }
  }

  // Returns the last register of ciphertext. In place, a store destroys what the register after it
  // would be xored with: so the last one is stored first.
  template <int... kLane>
  [[gnu::always_inline]] static inline Reg decrypt_pass(Keys keys, Reg before,
                                                        const unsigned char* from,
                                                        unsigned char* into,
                                                        std::integer_sequence<int, kLane...>) {
    Reg key = V::round_key(keys[0]);
    Reg data[kLanes] = {V::exclusive_or(V::load(from + kLane * kRegBytes), key)...};
#pragma GCC unroll 14
    for (int round = 1; round < kRounds; ++round) {
      key = V::round_key(keys[round]);
      ((data[kLane] = V::decrypt_round(data[kLane], key)), ...);
    }
    key = V::round_key(keys[kRounds]);
    ((data[kLane] = V::decrypt_last(data[kLane], key)), ...);
    const Reg last = V::load(from + (kLanes - 1) * kRegBytes);
    const Reg first = V::shift_in(before, V::load(from));
    (store_lane<kLanes - 1 - kLane>(data, first, from, into), ...);
    return last;
  }
  template <int kLane>
  [[gnu::always_inline]] static inline void store_lane(const Reg (&data)[kLanes], Reg first,
                                                       const unsigned char* from,
                                                       unsigned char* into) {
    const Reg before = kLane == 0 ? first : V::load(from + kLane * kRegBytes - 16);
    V::store(into + kLane * kRegBytes, V::exclusive_or(data[kLane], before));
  }

  static Reg decrypt_one(Keys keys, Reg before, Reg ciphertext) {
    Reg data = V::exclusive_or(ciphertext, V::round_key(keys[0]));
    for (int round = 1; round < kRounds; ++round) {
      data = V::decrypt_round(data, V::round_key(keys[round]));
    }
    data = V::decrypt_last(data, V::round_key(keys[kRounds]));
    return V::exclusive_or(data, V::shift_in(before, ciphertext));
  }
};

template <class V, int kRounds>
class CbcEncryption {
 public:
  static void run(const Schedule& schedule, const Request& request) {
    SectorTweaks<V> ivs;
    for (std::size_t done = 0; done < request.sectors;) {
      const std::size_t sectors = ivs.make(schedule.tweak, request, done);
      const std::size_t at = done * request.sector_bytes;
      const Group group{.ivs = ivs,
                        .from = request.from + at,
                        .into = request.into + at,
                        .sectors = sectors,
                        .sector_bytes = request.sector_bytes};
      if (sectors >= V::kBlocks) {
        encrypt_some<V::kBlocks>(schedule.encrypt.key, group);
      } else {  // a register for each
        encrypt_some<1>(schedule.encrypt.key, group);
      }
      done += sectors;
    }
  }

 private:
  using Reg = typename V::Reg;
  using Keys = const unsigned char (*)[16];
  static constexpr std::size_t kTileBytes = 64;

  struct Group {
    const SectorTweaks<V>& ivs;
    const unsigned char* from;
    unsigned char* into;
    std::size_t sectors;
    std::size_t sector_bytes;
  };

  // kStep: how many sectors a register takes; there are at least so many.
  template <std::size_t kStep>
  static void encrypt_some(Keys keys, const Group& group) {
    const std::size_t registers = (group.sectors + kStep - 1) / kStep;
    if (registers > 4) {
      encrypt_group<kStep, 8>(keys, group);
    } else if (registers > 2) {
      encrypt_group<kStep, 4>(keys, group);
    } else if (registers > 1) {
      encrypt_group<kStep, 2>(keys, group);
    } else {
      encrypt_group<kStep, 1>(keys, group);
    }
  }

  // Where there are fewer sectors than places, the last ones are done more than once: to the same
  // bytes, and all is loaded before anything is stored.
  template <std::size_t kStep, int kRegs>
  static void encrypt_group(Keys keys, const Group& group) {
    const std::size_t stride = kStep == 1 ? 0 : group.sector_bytes;
    const unsigned char* from[kRegs];
    unsigned char* into[kRegs];
    Reg chain[kRegs];
    for (std::size_t i = 0; i < kRegs; ++i) {
      const std::size_t most = group.sectors - kStep;
      const std::size_t sector = i * kStep < most ? i * kStep : most;
      from[i] = group.from + sector * group.sector_bytes;
      into[i] = group.into + sector * group.sector_bytes;
      chain[i] = kStep == 1 ? V::round_key(group.ivs[sector]) : V::load(group.ivs[sector]);
    }
    std::size_t at = 0;
    if constexpr (V::kBlocks > 1) {
      for (; group.sector_bytes - at >= kTileBytes; at += kTileBytes) {
        encrypt_tile(keys, chain, from, into, at, stride);
      }
    }
    for (; at < group.sector_bytes; at += 16) {
      Reg block[kRegs];
      for (int i = 0; i < kRegs; ++i) block[i] = V::gather(from[i] + at, stride);
      encrypt_blocks(keys, chain, block);
      for (int i = 0; i < kRegs; ++i) V::scatter(into[i] + at, stride, chain[i]);
    }
  }

  // Four blocks of each sector, a cache line, go through memory of our own: sectors that lie 4096
  // bytes apart push each other out of the cache from one block to the next.
  template <int kRegs>
  static void encrypt_tile(Keys keys, Reg (&chain)[kRegs], const unsigned char* const* from,
                           unsigned char* const* into, std::size_t at, std::size_t stride) {
    Reg tile[4][kRegs];
    for (int i = 0; i < kRegs; ++i) {
      Reg row[4];
      V::take_tile(from[i] + at, stride, row);
      for (int b = 0; b < 4; ++b) tile[b][i] = row[b];
    }
    for (auto& block : tile) {
      encrypt_blocks(keys, chain, block);
      for (int i = 0; i < kRegs; ++i) block[i] = chain[i];
    }
    for (int i = 0; i < kRegs; ++i) {
      Reg row[4];
      for (int b = 0; b < 4; ++b) row[b] = tile[b][i];
      V::give_tile(into[i] + at, stride, row);
    }
  }

  // The next block of every sector.
  template <int kRegs>
  [[gnu::always_inline]] static inline void encrypt_blocks(Keys keys, Reg (&chain)[kRegs],
                                                           const Reg (&block)[kRegs]) {
    Reg key = V::round_key(keys[0]);
#pragma GCC unroll 8
    for (int i = 0; i < kRegs; ++i) chain[i] = V::exclusive_or(chain[i], block[i], key);
#pragma GCC unroll 14
    for (int round = 1; round < kRounds; ++round) {
      key = V::round_key(keys[round]);
#pragma GCC unroll 8
      for (int i = 0; i < kRegs; ++i) chain[i] = V::encrypt_round(chain[i], key);
    }
    key = V::round_key(keys[kRounds]);
#pragma GCC unroll 8
    for (int i = 0; i < kRegs; ++i) chain[i] = V::encrypt_last(chain[i], key);
  }
};

template <class V, template <class, int> class Direction>
void cbc_crypt(const Schedule& schedule, const Request& request) {
  if (schedule.encrypt.rounds == 10) {
    Direction<V, 10>::run(schedule, request);
  } else if (schedule.encrypt.rounds == 12) {
    Direction<V, 12>::run(schedule, request);
  } else {
    Direction<V, 14>::run(schedule, request);
  }
  V::clear_registers();
}

}  // namespace latchkey::engine::kernels
