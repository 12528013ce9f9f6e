// BitLocker volumes with one thing wrong: each is refused with its own message, or what is wrong is
// got around and said. Nothing here may crash, hang or give other bytes than were put in.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/bitlocker_volumes.h"
#include "tests/support/bitlocker_dataset.h"

using namespace latchkey;
using namespace latchkey::test;
using ::testing::HasSubstr;

namespace {

constexpr std::size_t kDataset = kFveDatasetAt;
constexpr std::size_t kFirstDatum = kFveFirstDatumAt;

const FveVolume& good() {
  static const FveVolume volume = make_bitlocker(plain_spec(), ntfs_like(4 * kMebibyte, 7));
  return volume;
}

// What is said of a volume that does not open: the error, or why every way in is of no use.
std::string why_not(const OpenedVolume& volume) {
  if (volume.error) return volume.error->message();
  if (volume.header == nullptr) return "not recognised";
  return "it opens";
}

// One field of all three copies, whose sums are made right again.
std::string why_not_with(std::size_t offset, std::uint64_t value, unsigned bytes) {
  FveVolume volume = good();
  patch_fve(volume, offset, value, bytes);
  return why_not(open_fve(volume));
}

// The same where the size of what is summed cannot be believed, so that nothing can be sealed.
std::string why_not_unsealed(std::size_t offset, std::uint64_t value, unsigned bytes) {
  FveVolume volume = good();
  for (const std::uint64_t copy : volume.metadata)
    fve_put(volume.image, copy + offset, value, bytes);
  return why_not(open_fve(volume));
}

// A volume with other datums.
FveVolume with_datums(const ByteVector& datums) {
  FveVolume volume = good();
  for (unsigned i = 0; i < 3; ++i) {
    const std::uint64_t copy = volume.metadata.at(i);
    const std::uint64_t dataset = kFirstDatum - kDataset + datums.size();
    std::fill_n(volume.image.begin() + static_cast<std::ptrdiff_t>(copy + kFirstDatum), 60000,
                std::byte{0});
    std::copy(datums.begin(), datums.end(),
              volume.image.begin() + static_cast<std::ptrdiff_t>(copy + kFirstDatum));
    fve_put(volume.image, copy + 8, (kFirstDatum + datums.size() + 15) / 16, 2);
    fve_put(volume.image, copy + kDataset, dataset, 4);
    fve_put(volume.image, copy + kDataset + 12, dataset, 4);
    seal_fve_copy(volume, i);
  }
  return volume;
}

TEST(BitlockerHostileTest, TheUnchangedVolumeOpens) {
  const OpenedVolume volume = open_fve(good());
  ASSERT_TRUE(volume.plain) << why_not(volume);
  EXPECT_TRUE(same_bytes(all_bytes(*volume.plain), good().plain));
  EXPECT_EQ(notices_of(volume), "");
}

TEST(BitlockerHostileTest, DatumSizes) {
  EXPECT_THAT(why_not_with(kFirstDatum, 0, 2), HasSubstr("an entry of 0 bytes"));
  EXPECT_THAT(why_not_with(kFirstDatum, 7, 2), HasSubstr("an entry of 7 bytes"));
  EXPECT_THAT(why_not_with(kFirstDatum, 0xffff, 2), HasSubstr("an entry of 65535 bytes where"));
  // One byte more than its surroundings have, inside a protector.
  const std::size_t protector = fve_datum(good(), 2, 8);
  const std::uint64_t size = fve_get(good().image, good().metadata[0] + protector, 2);
  EXPECT_THAT(why_not_with(protector + 36, size - 36 + 1, 2), HasSubstr("an entry of"));
  // A protector and a sealed key too small for what they must hold.
  const ByteVector small_protector = FveDataset::datum(2, 8, ByteVector(20));
  EXPECT_THAT(why_not(open_fve(with_datums(small_protector))), HasSubstr("are the least"));
}

TEST(BitlockerHostileTest, DatumsNestedHundredDeep) {
  ByteVector datum = FveDataset::datum(0, 2, ByteVector(4));
  for (int depth = 0; depth < 100; ++depth) {
    ByteVector contents(4 + datum.size());
    std::copy(datum.begin(), datum.end(), contents.begin() + 4);
    datum = FveDataset::datum(0, 4, contents);
  }
  EXPECT_THAT(why_not(open_fve(with_datums(datum))), HasSubstr("nested more than"));
}

TEST(BitlockerHostileTest, DatumsBeyondNumber) {
  ByteVector datums;
  for (int i = 0; i < 7000; ++i) {
    const ByteVector datum = FveDataset::datum(0, 0x33, {});
    datums.insert(datums.end(), datum.begin(), datum.end());
  }
  EXPECT_THAT(why_not(open_fve(with_datums(datums))), HasSubstr("more than 1024 entries"));
}

TEST(BitlockerHostileTest, DatasetLiesAboutItsSize) {
  const std::uint64_t size = fve_get(good().image, good().metadata[0] + kDataset, 4);
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, std::uint64_t{47}, std::uint64_t{70000}, std::uint64_t{0xffffffff}}) {
    EXPECT_THAT(why_not_with(kDataset, wrong, 4), HasSubstr("entries from byte")) << wrong;
  }
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, std::uint64_t{47}, size + 1, std::uint64_t{0xffffffff}}) {
    EXPECT_THAT(why_not_with(kDataset + 8, wrong, 4), HasSubstr("entries from byte")) << wrong;
  }
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, std::uint64_t{47}, size + 4096, std::uint64_t{0xffffffff}}) {
    EXPECT_THAT(why_not_with(kDataset + 12, wrong, 4), HasSubstr("entries from byte")) << wrong;
  }
}

TEST(BitlockerHostileTest, HeaderLiesAboutItsSize) {
  for (const std::uint64_t wrong : {0U, 1U, 6U, 4097U, 0xffffU}) {
    EXPECT_THAT(why_not_unsealed(8, wrong, 2), HasSubstr("cannot be true")) << wrong;
  }
}

TEST(BitlockerHostileTest, Versions) {
  EXPECT_THAT(why_not_with(10, 0, 2), HasSubstr("version 0 is not known"));
  EXPECT_THAT(why_not_with(10, 3, 2), HasSubstr("version 3 is not known"));
  FveVolume volume = good();
  patch_fve(volume, 10, 3, 2);
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.error);
  EXPECT_EQ(opened.error->code(), engine::ErrorCode::kNotSupported);
}

TEST(BitlockerHostileTest, StatesThatAreNotKnown) {
  EXPECT_THAT(why_not_with(12, 0, 2), HasSubstr("state 0 is not known"));
  EXPECT_THAT(why_not_with(12, 6, 2), HasSubstr("state 6 is not known"));
  EXPECT_THAT(why_not_with(12, 0xffff, 2), HasSubstr("state 65535 is not known"));
}

TEST(BitlockerHostileTest, CopiesThatOverlapWhatTheyMustNot) {
  const std::uint64_t first = good().metadata[0];
  const auto second_at = [](std::uint64_t offset) { return why_not_with(40, offset, 8); };
  EXPECT_THAT(second_at(first), HasSubstr("overlaps"));
  EXPECT_THAT(second_at(first + 4096), HasSubstr("overlaps"));
  EXPECT_THAT(second_at(first - 512), HasSubstr("overlaps"));
  EXPECT_THAT(second_at(good().relocated), HasSubstr("overlaps"));
  EXPECT_THAT(second_at(0), HasSubstr("overlaps"));
  EXPECT_THAT(second_at(first + 65536 + 17), HasSubstr("whole sectors"));
  // The relocated block in the middle of a copy, and over the sectors it replaces.
  EXPECT_THAT(why_not_with(56, good().metadata[2] + 512, 8), HasSubstr("overlaps"));
  EXPECT_THAT(why_not_with(56, 4096, 8), HasSubstr("overlaps"));
}

// Two other copies remain: what they say counts.
TEST(BitlockerHostileTest, CopiesThatAreNowhere) {
  const std::vector<std::uint64_t> nowhere = {4 * kMebibyte, std::uint64_t{1} << 50,
                                              0xffffffffffffff00, 0xffffffffffffffff};
  for (const std::uint64_t offset : nowhere) {
    FveVolume volume = good();
    fve_put(volume.image, 160 + 16, offset, 8);
    const OpenedVolume opened = open_fve(volume);
    ASSERT_TRUE(opened.plain) << why_not(opened);
    EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
    EXPECT_THAT(notices_of(opened), HasSubstr("beyond the end of the image"));
  }
  FveVolume volume = good();
  for (std::size_t i = 0; i < 3; ++i) {
    fve_put(volume.image, 160 + 16 + 8 * i, 0xffffffffffff0000, 8);
  }
  const OpenedVolume found = open_fve(volume, true);
  ASSERT_TRUE(found.plain) << why_not(found);
  EXPECT_TRUE(same_bytes(all_bytes(*found.plain), volume.plain));
  EXPECT_FALSE(found.plain->geometry().writable);
  EXPECT_THAT(notices_of(found), HasSubstr("found by searching"));
}

TEST(BitlockerHostileTest, RelocatedSectorsBeyondNumber) {
  // So many that they reach over the next copy, and beyond the end.
  EXPECT_THAT(why_not_with(28, 0xffffffff, 4), HasSubstr("overlaps"));
  EXPECT_THAT(why_not_with(28, 8192, 4), HasSubstr("overlaps"));
  EXPECT_THAT(why_not_with(56, 0xfffffffffffffe00, 8), HasSubstr("there are only"));
  EXPECT_THAT(why_not_with(56, 4 * kMebibyte - 4096, 8), HasSubstr("there are only"));
  EXPECT_THAT(why_not_with(56, good().relocated + 1, 8), HasSubstr("whole sectors"));
}

TEST(BitlockerHostileTest, SectorSizes) {
  for (const std::uint64_t size : {1U, 3U, 511U, 513U, 8192U, 65535U}) {
    FveVolume volume = good();
    fve_put(volume.image, 11, size, 2);
    const OpenedVolume opened = open_fve(volume);
    // Refused, or the boot sector counts as damaged and the copies tell; never other bytes.
    if (opened.plain) {
      EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain)) << size;
      EXPECT_THAT(notices_of(opened), HasSubstr("damaged")) << size;
    } else {
      EXPECT_THAT(why_not(opened), HasSubstr("sectors of " + std::to_string(size) + " bytes"));
    }
  }
  // Some writers leave it out.
  FveVolume volume = good();
  fve_put(volume.image, 11, 0, 2);
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
}

TEST(BitlockerHostileTest, WatermarkBeyondTheEnd) {
  FveSpec spec = plain_spec();
  spec.state = 3;
  FveVolume volume = make_bitlocker(spec, ntfs_like(2 * kMebibyte, 3));
  for (const std::uint64_t offset : {std::uint64_t{4} * kMebibyte, ~std::uint64_t{0}}) {
    patch_fve(volume, 16, offset, 8);
    const OpenedVolume opened = open_fve(volume);
    ASSERT_TRUE(opened.plain) << why_not(opened);
    EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
  }
  patch_fve(volume, 16, 1000, 8);
  EXPECT_THAT(why_not(open_fve(volume)), HasSubstr("inside a sector"));
}

TEST(BitlockerHostileTest, MethodsThatAreNotKnown) {
  FveVolume volume = good();
  patch_fve(volume, kDataset + 36, 0x8006, 2);
  const OpenedVolume opened = open_fve(volume);
  EXPECT_THAT(why_not(opened), HasSubstr("0x8006"));
  ASSERT_TRUE(opened.error);
  EXPECT_EQ(opened.error->code(), engine::ErrorCode::kNotSupported);
}

// The sealed key says what it is; a method beside it that says otherwise changes no byte.
TEST(BitlockerHostileTest, AnotherMethodThanTheKeys) {
  for (const FveMethod method : {FveMethod::kXts256, FveMethod::kCbc128, FveMethod::kElephant256}) {
    FveVolume volume = good();
    patch_fve(volume, kDataset + 36, static_cast<std::uint16_t>(method), 2);
    const OpenedVolume opened = open_fve(volume);
    if (opened.plain) {
      EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
    }
  }
}

TEST(BitlockerHostileTest, ProtectorWithoutProperties) {
  const std::size_t protector = fve_datum(good(), 2, 8);
  const auto begin =
      good().image.begin() + static_cast<std::ptrdiff_t>(good().metadata[0] + protector + 8);
  const FveVolume volume = with_datums(FveDataset::datum(2, 8, ByteVector(begin, begin + 28)));
  const OpenedVolume opened = open_fve(volume);
  EXPECT_THAT(why_not(opened), HasSubstr("it holds no volume key"));
  ASSERT_TRUE(opened.header);
  EXPECT_EQ(opened.header->protectors()[0].id, volume.ways_in[0].guid);
}

TEST(BitlockerHostileTest, NoProtectorsAtAll) {
  const OpenedVolume opened = open_fve(with_datums(FveDataset::text(7, u"empty")));
  EXPECT_THAT(why_not(opened), HasSubstr("the volume has no protector left"));
}

TEST(BitlockerHostileTest, SealedKeysThatWereChanged) {
  // Of the VMK: no secret opens it any more. Of the FVEK: the VMK is right, and that is damage.
  const std::size_t vmk = fve_datum(good(), 0, 5);
  const std::size_t fvek = fve_datum(good(), 3, 5);
  for (const std::size_t inside : {8U, 19U, 20U, 35U, 36U, 50U, 79U}) {
    const auto flipped = [&](std::size_t datum) {
      return fve_get(good().image, good().metadata[0] + datum + inside, 1) ^ 0x40;
    };
    EXPECT_THAT(why_not_with(vmk + inside, flipped(vmk), 1), HasSubstr("no key fits")) << inside;
    EXPECT_THAT(why_not_with(fvek + inside, flipped(fvek), 1), HasSubstr("does not open its"))
        << inside;
  }
}

TEST(BitlockerHostileTest, SealedKeysTooShort) {
  // The VMK's datum cut to 12 bytes of payload; what follows it becomes a datum of its own.
  const ByteVector guid_and_kind = [] {
    const std::size_t protector = fve_datum(good(), 2, 8);
    const auto begin =
        good().image.begin() + static_cast<std::ptrdiff_t>(good().metadata[0] + protector + 8);
    return ByteVector(begin, begin + 28);
  }();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{12}, std::size_t{27}}) {
    ByteVector contents = guid_and_kind;
    const ByteVector sealed = FveDataset::datum(0, 5, ByteVector(bytes));
    contents.insert(contents.end(), sealed.begin(), sealed.end());
    const OpenedVolume opened = open_fve(with_datums(FveDataset::datum(2, 8, contents)));
    EXPECT_FALSE(opened.plain);
    EXPECT_TRUE(opened.error) << bytes;
  }
}

TEST(BitlockerHostileTest, OneOrTwoBadCopies) {
  for (unsigned bad = 1; bad < 7; ++bad) {
    FveVolume volume = good();
    for (unsigned copy = 0; copy < 3; ++copy) {
      if ((bad & (1U << copy)) == 0) continue;
      volume.image[volume.metadata.at(copy) + kFirstDatum + 20] ^= std::byte{1};
    }
    const OpenedVolume opened = open_fve(volume, true);
    ASSERT_TRUE(opened.plain) << bad << ": " << why_not(opened);
    EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain)) << bad;
    EXPECT_TRUE(opened.plain->geometry().writable) << bad;
    EXPECT_THAT(notices_of(opened), HasSubstr("its checksum is wrong")) << bad;
  }
}

TEST(BitlockerHostileTest, CopiesWithoutSignature) {
  FveVolume volume = good();
  for (const unsigned copy : {0U, 1U}) volume.image[volume.metadata.at(copy)] = std::byte{0};
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
  EXPECT_THAT(notices_of(opened), HasSubstr("no signature"));
  volume.image[volume.metadata[2]] = std::byte{0};
  EXPECT_THAT(why_not(open_fve(volume)), HasSubstr("no signature"));
}

// All of the copy at `at` becomes that of `forged`, but for the sealed hash.
void forge_copy(FveVolume& volume, const FveVolume& forged, std::uint64_t at) {
  const std::uint64_t info = fve_get(forged.image, at + 8, 2) * 16;
  std::copy_n(forged.image.begin() + static_cast<std::ptrdiff_t>(at), info + 8,
              volume.image.begin() + static_cast<std::ptrdiff_t>(at));
}

// Somebody changed the first copy and its sum; the hash under the VMK tells.
TEST(BitlockerHostileTest, ForgedCopy) {
  FveVolume volume = good();
  FveVolume forged = good();
  patch_fve(forged, 12, 3, 2);              // paused ...
  patch_fve(forged, 16, 2 * kMebibyte, 8);  // ... half-way: the rest would be given as it lies
  forge_copy(volume, forged, volume.metadata[0]);
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
}

// All three, alike: what they say of the volume may not be believed.
TEST(BitlockerHostileTest, AllCopiesForged) {
  FveVolume volume = good();
  FveVolume forged = good();
  patch_fve(forged, 12, 3, 2);
  patch_fve(forged, 16, 2 * kMebibyte, 8);
  for (const std::uint64_t at : volume.metadata) forge_copy(volume, forged, at);
  const OpenedVolume opened = open_fve(volume);
  EXPECT_FALSE(opened.plain);
  EXPECT_THAT(why_not(opened), HasSubstr("somebody has altered it"));
}

// The same, but the first copy says that nothing is encrypted (any more): no key would be asked
// for, and ciphertext given for data.
TEST(BitlockerHostileTest, ForgedCopyThatNeedsNoKey) {
  FveVolume volume = good();
  FveVolume forged = good();
  patch_fve(forged, 12, 1, 2);
  forge_copy(volume, forged, volume.metadata[0]);
  const OpenedVolume opened = open_fve(volume);
  EXPECT_FALSE(opened.plain);
  EXPECT_THAT(why_not(opened), HasSubstr("disagree"));
}

TEST(BitlockerHostileTest, AllSumsWrong) {
  FveVolume volume = good();
  for (const std::uint64_t copy : volume.metadata) {
    volume.image[copy + kFirstDatum + 20] ^= std::byte{1};
  }
  const OpenedVolume opened = open_fve(volume, true);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
  EXPECT_FALSE(opened.plain->geometry().writable);
  EXPECT_NE(opened.read_only_reason, "");
  EXPECT_THAT(notices_of(opened), HasSubstr("read-only"));
}

TEST(BitlockerHostileTest, BootSectorWiped) {
  FveVolume volume = good();
  std::fill_n(volume.image.begin(), 512, std::byte{0});
  const OpenedVolume opened = open_fve(volume, true);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
  EXPECT_FALSE(opened.plain->geometry().writable);
  EXPECT_THAT(notices_of(opened), HasSubstr("found by searching"));
}

TEST(BitlockerHostileTest, BootSectorWipedWithSectorsOf4096) {
  FveSpec spec = plain_spec();
  spec.sector_bytes = 4096;
  FveVolume volume = make_bitlocker(spec, ntfs_like(4 * kMebibyte, 9));
  std::fill_n(volume.image.begin(), 4096, std::byte{0});
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
}

TEST(BitlockerHostileTest, BootSectorWithoutIdentifier) {
  FveVolume volume = good();
  volume.image[160] ^= std::byte{1};
  const OpenedVolume opened = open_fve(volume);
  ASSERT_TRUE(opened.plain) << why_not(opened);
  EXPECT_TRUE(same_bytes(all_bytes(*opened.plain), volume.plain));
}

// Cut anywhere: refused, or what is there is what was there.
TEST(BitlockerHostileTest, ImagesCutShort) {
  const FveVolume& volume = good();
  std::vector<std::uint64_t> places = {
      0, 1, 511, 512, 4096, 8191, 8192, 4 * kMebibyte - 512, 4 * kMebibyte - 1};
  for (const std::uint64_t copy : volume.metadata) {
    const std::uint64_t info = fve_get(volume.image, copy + 8, 2) * 16;
    for (const std::uint64_t in :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{64},
          std::uint64_t{112}, std::uint64_t{200}, info - 1, info, info + 8, info + 87, info + 88,
          kFveMetadataBytes - 1, kFveMetadataBytes}) {
      places.push_back(copy + in);
    }
  }
  places.push_back(volume.relocated + 512);
  places.push_back(volume.relocated + volume.relocated_bytes - 1);
  places.push_back(volume.relocated + volume.relocated_bytes);
  unsigned opened = 0;
  for (const std::uint64_t place : places) {
    SCOPED_TRACE(place);
    ByteVector image = volume.image;
    image.resize(place);
    const OpenedVolume cut = open_fve(image, ring_of(external_key(volume.ways_in[0])));
    if (!cut.plain) {
      EXPECT_LT(place, volume.relocated + volume.relocated_bytes) << why_not(cut);
      continue;
    }
    ++opened;
    ByteVector expected = volume.plain;
    expected.resize(place / 512 * 512);
    EXPECT_TRUE(same_bytes(all_bytes(*cut.plain), expected));
    EXPECT_THAT(notices_of(cut), HasSubstr("the end is missing"));
  }
  EXPECT_GT(opened, 25U);
}

// Every byte of the first copy's header and datums, one at a time, with sums put right: whatever
// happens, no other bytes come out than were put in, except where a change says so honestly.
TEST(BitlockerHostileTest, EveryByteOfTheMetadata) {
  const FveVolume small = make_bitlocker(plain_spec(), ntfs_like(kMebibyte, 11));
  const std::uint64_t info = fve_get(small.image, small.metadata[0] + 8, 2) * 16;
  for (std::size_t at = 0; at < info; ++at) {
    FveVolume volume = small;
    for (const std::uint64_t copy : volume.metadata) volume.image[copy + at] ^= std::byte{0x81};
    const OpenedVolume opened = open_fve(volume);
    if (!opened.plain) continue;
    EXPECT_THAT(notices_of(opened), HasSubstr("no copy holds")) << at;
    EXPECT_NE(opened.read_only_reason, "") << at;
    EXPECT_EQ(all_bytes(*opened.plain).size(), volume.plain.size()) << at;
  }
}

}  // namespace
