// AES-CBC + Elephant diffuser (sector_cipher.h) for the vector types of vector_operations.h.
//
// The diffuser is one long chain through a sector, whose links are 32-bit words
// (elephant_diffuser.cc has the formulas, and is what this is tested against). So as many sectors
// as a register has words go side by side: word i of all of them in one register. They are
// transposed on the way in and out, a square of words at a time, while the cache has them.
#pragma once

#include "engine/ciphers/cbc_kernel_impl.h"
#include "engine/ciphers/kernel_set.h"
#include "engine/ciphers/sector_tweaks_impl.h"

namespace latchkey::engine::kernels {

// Word i of every sector at words + i * kRegBytes. The formulas are those of elephant_diffuser.cc.
template <class V>
class Diffuser {
 public:
  static void undiffuse(unsigned char* words, std::size_t count) {
    for (int round = 0; round < kRoundsB; ++round) undo_b(words, count);
    undo_a(words, count);
  }
  static void diffuse(unsigned char* words, std::size_t count) {
    for (int round = 0; round < kRoundsA; ++round) do_a(words, count);
    do_b(words, count);
  }

 private:
  using Reg = typename V::Reg;
  static constexpr int kRoundsA = 5;
  static constexpr int kRoundsB = 3;
  static constexpr std::size_t kRegBytes = V::kBlocks * 16;

  static Reg get(const unsigned char* words, std::size_t i) {
    return V::load(words + i * kRegBytes);
  }
  static void set(unsigned char* words, std::size_t i, Reg r) {
    V::store(words + i * kRegBytes, r);
  }
  template <int kLeft>
  static Reg mix(Reg a, Reg b) {
    return V::exclusive_or(a, V::template rotate_words<kLeft>(b));
  }

  // Reads what the round before left, but for the words after the last one.
  static void undo_b(unsigned char* d, std::size_t count) {
    Reg now[4] = {get(d, 0), get(d, 1), get(d, 2), get(d, 3)};
    for (std::size_t i = 0; i < count; i += 4) {
      const std::size_t above = i + 4 < count ? i + 4 : 0;
      const Reg next[4] = {get(d, above), get(d, above + 1), get(d, above + 2), get(d, above + 3)};
      const std::size_t far = i + 8 < count ? i + 8 : i + 8 - count;
      set(d, i, V::add_words(now[0], mix<0>(now[2], next[1])));
      set(d, i + 1, V::add_words(now[1], mix<10>(now[3], next[2])));
      set(d, i + 2, V::add_words(now[2], mix<0>(next[0], next[3])));
      set(d, i + 3, V::add_words(now[3], mix<25>(next[1], get(d, far))));
      for (int k = 0; k < 4; ++k) now[k] = next[k];
    }
  }

  // Reads what it has just written: in registers, since a word that goes through memory costs
  // several times the arithmetic.
  static void undo_a(unsigned char* d, std::size_t count) {
    Reg before5 = get(d, count - 5);
    Reg before4 = get(d, count - 4);
    Reg before3 = get(d, count - 3);
    Reg before2 = get(d, count - 2);
    Reg before1 = get(d, count - 1);
    for (int round = 0; round < kRoundsA; ++round) {
      for (std::size_t i = 0; i < count; i += 4) {
        const Reg now0 = V::add_words(get(d, i), mix<9>(before2, before5));
        const Reg now1 = V::add_words(get(d, i + 1), mix<0>(before1, before4));
        const Reg now2 = V::add_words(get(d, i + 2), mix<13>(now0, before3));
        const Reg now3 = V::add_words(get(d, i + 3), mix<0>(now1, before2));
        set(d, i, now0);
        set(d, i + 1, now1);
        set(d, i + 2, now2);
        set(d, i + 3, now3);
        before5 = before1;
        before4 = now0;
        before3 = now1;
        before2 = now2;
        before1 = now3;
      }
    }
  }

  // As undo_b.
  static void do_a(unsigned char* d, std::size_t count) {
    Reg now[4] = {get(d, count - 4), get(d, count - 3), get(d, count - 2), get(d, count - 1)};
    for (std::size_t i = count; i > 0;) {
      i -= 4;
      const std::size_t below = i > 0 ? i - 4 : count - 4;
      const Reg next[4] = {get(d, below), get(d, below + 1), get(d, below + 2), get(d, below + 3)};
      const std::size_t far = i > 4 ? i - 5 : i + count - 5;
      set(d, i + 3, V::subtract_words(now[3], mix<0>(now[1], next[2])));
      set(d, i + 2, V::subtract_words(now[2], mix<13>(now[0], next[1])));
      set(d, i + 1, V::subtract_words(now[1], mix<0>(next[3], next[0])));
      set(d, i, V::subtract_words(now[0], mix<9>(next[2], get(d, far))));
      for (int k = 0; k < 4; ++k) now[k] = next[k];
    }
  }

  // As undo_a.
  static void do_b(unsigned char* d, std::size_t count) {
    Reg behind1 = get(d, 0);  // d[i + 4] and so on: what lies behind the four at i
    Reg behind2 = get(d, 1);
    Reg behind3 = get(d, 2);
    Reg behind4 = get(d, 3);
    Reg behind5 = get(d, 4);
    for (int round = 0; round < kRoundsB; ++round) {
      for (std::size_t i = count; i > 0;) {
        i -= 4;
        const Reg now3 = V::subtract_words(get(d, i + 3), mix<25>(behind2, behind5));
        const Reg now2 = V::subtract_words(get(d, i + 2), mix<0>(behind1, behind4));
        const Reg now1 = V::subtract_words(get(d, i + 1), mix<10>(now3, behind3));
        const Reg now0 = V::subtract_words(get(d, i), mix<0>(now2, behind2));
        set(d, i, now0);
        set(d, i + 1, now1);
        set(d, i + 2, now2);
        set(d, i + 3, now3);
        behind5 = behind1;
        behind4 = now3;
        behind3 = now2;
        behind2 = now1;
        behind1 = now0;
      }
    }
  }
};

// CBC on V, the diffuser on W.
template <class V, class W>
class ElephantKernel {
 public:
  static void encrypt(const Schedule& schedule, const Request& request) {
    Scratch scratch;
    for_groups(request, [&](const Request& group) {
      scratch.make_keys(schedule.sector, group);
      scratch.template take<true>(group.from, group);
      Diffuser<W>::diffuse(scratch.words, group.sector_bytes / 4);
      scratch.template give<false>(group);
      Request diffused = group;
      diffused.from = group.into;
      cbc_crypt<V, CbcEncryption>(schedule, diffused);
    });
  }
  static void decrypt(const Schedule& schedule, const Request& request) {
    Scratch scratch;
    for_groups(request, [&](const Request& group) {
      cbc_crypt<V, CbcDecryption>(schedule, group);
      scratch.make_keys(schedule.sector, group);
      scratch.template take<false>(group.into, group);
      Diffuser<W>::undiffuse(scratch.words, group.sector_bytes / 4);
      scratch.template give<true>(group);
    });
  }

  static constexpr std::size_t kGroup = W::kBlocks * 4;  // sectors: the words of a register
  static constexpr std::size_t kScratchBytes = std::size_t{32} * 1024;  // lives in the first cache

 private:
  using Reg = typename W::Reg;
  static constexpr std::size_t kRegBytes = W::kBlocks * 16;
  static_assert(SectorTweaks<V>::kMost >= W::kBlocks * 4);
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kKeyRoom = kRegBytes < kKeyBytes ? kKeyBytes : kRegBytes;

  template <class Work>
  static void for_groups(const Request& request, const Work& work) {
    Request group = request;
    for (std::size_t left = request.sectors; left > 0; left -= group.sectors) {
      group.sectors = left < kGroup ? left : kGroup;
      work(static_cast<const Request&>(group));
      group.from += group.sectors * group.sector_bytes;
      group.into += group.sectors * group.sector_bytes;
      group.first_tweak += group.sectors * group.tweak_stride;
    }
  }

  // Only what was used is wiped: 8 KiB for 16 sectors of 512 bytes.
  struct Scratch {
    alignas(64) unsigned char words[kScratchBytes];
    alignas(64) unsigned char keys[kGroup][kKeyRoom];  // repeated as often as there is room
    std::size_t used = 0;

    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
      for (std::size_t at = 0; at < used; at += kRegBytes) W::store(words + at, W::zero());
      __asm__ volatile("" ::"r"(&words) : "memory");  // the stores are not dead
      wipe<W>(keys);
    }

    // The tweak encrypted, and once more with its topmost bit set.
    void make_keys(const RoundKeys& round_keys, const Request& group) {
      SectorTweaks<V> low;
      SectorTweaks<V> high;
      low.make(round_keys, group, 0);
      high.make(round_keys, group, 0, V::topmost_bit());
      for (std::size_t s = 0; s < kGroup; ++s) {
        for (std::size_t at = 0; at < kKeyRoom; at += kKeyBytes) {
          __builtin_memcpy(keys[s] + at, low[s], 16);
          __builtin_memcpy(keys[s] + at + 16, high[s], 16);
        }
      }
    }

    // Sectors to words. Where there are fewer sectors than places, the last one is there several
    // times, and is later stored as often.
    template <bool kWithKey>
    void take(const unsigned char* from, const Request& group) {
      if (used < group.sector_bytes * (kRegBytes / 4)) used = group.sector_bytes * (kRegBytes / 4);
      unsigned char* to = words;
      for (std::size_t at = 0; at < group.sector_bytes; at += kRegBytes, to += kGroup * kRegBytes) {
        Reg rows[kGroup];
#pragma GCC unroll 16
        for (std::size_t s = 0; s < kGroup; ++s) {
          rows[s] = W::load(from + sector(s, group) * group.sector_bytes + at);
          if (kWithKey) rows[s] = W::exclusive_or(rows[s], key(sector(s, group), at));
        }
        W::transpose(rows);
#pragma GCC unroll 16
        for (std::size_t s = 0; s < kGroup; ++s) W::store(to + s * kRegBytes, rows[s]);
      }
    }

    // And back.
    template <bool kWithKey>
    void give(const Request& group) {
      const unsigned char* from = words;
      for (std::size_t at = 0; at < group.sector_bytes;
           at += kRegBytes, from += kGroup * kRegBytes) {
        Reg rows[kGroup];
#pragma GCC unroll 16
        for (std::size_t s = 0; s < kGroup; ++s) rows[s] = W::load(from + s * kRegBytes);
        W::transpose(rows);
#pragma GCC unroll 16
        for (std::size_t s = 0; s < kGroup; ++s) {
          if (kWithKey) rows[s] = W::exclusive_or(rows[s], key(sector(s, group), at));
          W::store(group.into + sector(s, group) * group.sector_bytes + at, rows[s]);
        }
      }
    }

    Reg key(std::size_t sector, std::size_t at) const {
      return W::load(keys[sector] + at % kKeyRoom);
    }
    // The last one in the places that are left over. (There is always one; GCC does not see that.)
    static std::size_t sector(std::size_t place, const Request& group) {
      if (place < group.sectors) return place;
      return group.sectors == 0 ? 0 : group.sectors - 1;
    }
  };
};

// Which of the two a group of sectors goes to. The wide one keeps 4096-byte sectors out of the
// first cache, and does as much for 1 sector as for 16.
template <class V, class Narrow, class Work>
void elephant_split(const Request& request, const Work& work) {
  using Wide = ElephantKernel<V, V>;
  Request wide = request;
  wide.sectors = request.sectors / Wide::kGroup * Wide::kGroup;
  if (request.sectors - wide.sectors > ElephantKernel<V, Narrow>::kGroup) {
    wide.sectors = request.sectors;
  }
  if (request.sector_bytes * Wide::kGroup > Wide::kScratchBytes) wide.sectors = 0;
  if (wide.sectors > 0) work(Wide(), wide);
  Request narrow = request;
  narrow.from += wide.sectors * request.sector_bytes;
  narrow.into += wide.sectors * request.sector_bytes;
  narrow.first_tweak += wide.sectors * request.tweak_stride;
  narrow.sectors -= wide.sectors;
  if (narrow.sectors > 0) work(ElephantKernel<V, Narrow>(), narrow);
}

template <class V, class Narrow>
void elephant_encrypt(const Schedule& schedule, const Request& request) {
  elephant_split<V, Narrow>(
      request, [&](auto kernel, const Request& part) { kernel.encrypt(schedule, part); });
  V::clear_registers();
}
template <class V, class Narrow>
void elephant_decrypt(const Schedule& schedule, const Request& request) {
  elephant_split<V, Narrow>(
      request, [&](auto kernel, const Request& part) { kernel.decrypt(schedule, part); });
  V::clear_registers();
}

}  // namespace latchkey::engine::kernels
