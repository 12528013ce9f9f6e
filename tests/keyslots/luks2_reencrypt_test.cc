// Volumes caught in the middle of a re-encryption. cryptsetup re-encrypts plain files; a preloaded
// library (cut_writes.cc) ends it at a chosen byte, inside steps and between them, inside data and
// inside headers. What was in the volume is known, so every cut must show just that.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keyslots/luks_builder.h"
#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using test::kCheapPbkdf2;
using test::kQuiet;
using test::log_of;
using test::passphrase;
using test::ring_of;
using test::run_in;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr int kCutStatus = 86;
constexpr std::size_t kPlainBytes = 6 * kMiB;

struct Scenario {
  const char* name;
  const char* prepare;  // from `plain` to a volume whose re-encryption is initialised
  const char* resume;   // carries it on
  const char* data;     // the file with the data
  const char* header;   // the detached header, or ""
  const char* mode;     // as it appears in facts().state
  const char* direction;
  std::size_t plain_bytes = kPlainBytes;  // what of `plain` is in the volume
};

// $Q: options every command needs. The protection is named each time, for cryptsetup writes the
// whole record anew, and slowly, where it changes. Encrypting the 6 MiB of `plain` in place needs
// room for a header, which --reduce-device-size takes from the end: hence the longer files.
const Scenario kScenarios[] = {
    {"EncryptChecksum",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt --init-only $Q --header h "
     "--resilience checksum a",
     "--header h --hotzone-size 1M --resilience checksum a", "a", "h", "encryption", "forward"},
    {"EncryptChecksumSha512Sector4096",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt --init-only $Q --header h "
     "--sector-size 4096 --resilience checksum --resilience-hash sha512 a",
     "--header h --hotzone-size 1M --resilience checksum --resilience-hash sha512 a", "a", "h",
     "encryption", "forward"},
    {"EncryptJournal",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt --init-only $Q --header h "
     "--resilience journal a",
     "--header h --hotzone-size 1M --resilience journal a", "a", "h", "encryption", "forward"},
    {"EncryptDatashift",
     "cp plain a && truncate -s 14M a && cryptsetup reencrypt --encrypt --init-only $Q "
     "--reduce-device-size 8M a",
     "a", "a", "", "encryption", "backward"},
    {"ReencryptChecksum",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt $Q --header h a && "
     "cryptsetup reencrypt --init-only $Q --header h --resilience checksum a",
     "--header h --hotzone-size 1M --resilience checksum a", "a", "h", "re-encryption", "forward"},
    {"ReencryptJournalToOtherSectorSizeAndCipher",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt $Q --header h a && "
     "cryptsetup reencrypt --init-only $Q --header h --resilience journal --sector-size 4096 "
     "--cipher aes-cbc-essiv:sha256 --key-size 256 a",
     "--header h --hotzone-size 1M --resilience journal a", "a", "h", "re-encryption", "forward"},
    {"ReencryptChecksumToOtherSectorSizeAndCipher",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt $Q --header h "
     "--sector-size "
     "4096 a && cryptsetup reencrypt --init-only $Q --header h --resilience checksum --sector-size "
     "512 --cipher aes-cbc-plain64 --key-size 256 a",
     "--header h --hotzone-size 1M --resilience checksum a", "a", "h", "re-encryption", "forward"},
    {"ReencryptAttached",
     "cp plain a && truncate -s 14M a && cryptsetup reencrypt --encrypt $Q --reduce-device-size 8M "
     "a && cryptsetup reencrypt --init-only $Q --resilience checksum a",
     "--hotzone-size 1M --resilience checksum a", "a", "", "re-encryption", "forward"},
    {"ReencryptDatashift",
     "cp plain a && truncate -s 14M a && cryptsetup reencrypt --encrypt $Q --reduce-device-size 8M "
     "a && truncate -s 22M a && cryptsetup reencrypt --init-only $Q --reduce-device-size 4M a",
     "a", "a", "", "re-encryption", "backward"},
    {"DecryptChecksum",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt $Q --header h a && "
     "cryptsetup reencrypt --decrypt --init-only $Q --header h --resilience checksum a",
     "--header h --hotzone-size 1M --resilience checksum a", "a", "h", "decryption", "backward"},
    {"DecryptJournal",
     "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt $Q --header h "
     "--sector-size "
     "4096 a && cryptsetup reencrypt --decrypt --init-only $Q --header h --resilience journal a",
     "--header h --hotzone-size 1M --resilience journal a", "a", "h", "decryption", "backward"},
    {"DecryptDatashiftChecksum",
     "cp plain a && truncate -s 14M a && cryptsetup reencrypt --encrypt $Q --reduce-device-size 8M "
     "a && cryptsetup reencrypt --decrypt --init-only $Q --header h --resilience "
     "datashift-checksum a",
     "--header h --hotzone-size 1M --resilience datashift-checksum a", "a", "h", "decryption",
     "forward"},
    // A journal holds less than the head that moves, unless the volume is smaller than that.
    {"DecryptDatashiftJournal",
     "cp plain a && truncate -s 2M a && truncate -s 10M a && cryptsetup reencrypt --encrypt $Q "
     "--reduce-device-size 8M a && truncate -s 6M a && cryptsetup reencrypt --decrypt --init-only "
     "$Q --header h --resilience datashift-journal a",
     "--header h --hotzone-size 1M --resilience datashift-journal a", "a", "h", "decryption",
     "forward", 2 * kMiB},
};

std::string options() {
  return std::string("Q='") + kQuiet + kCheapPbkdf2 + "--force-offline-reencrypt'; ";
}

class Luks2Reencrypt : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    const auto word = engine::as_bytes("secret");
    test::write_file(dir_ / "pw", {word.begin(), word.end()});
    plain_ = test::random_bytes(kPlainBytes, test::test_seed());
    test::write_file(dir_ / "plain", plain_);
  }

  void prepare(const Scenario& scenario) {
    plain_.resize(scenario.plain_bytes);
    ASSERT_EQ(run_in(dir_, options() + scenario.prepare), 0) << log_of(dir_);
    ASSERT_EQ(run_in(dir_, "mkdir -p start && cp a start/ && { test ! -e h || cp h start/; }"), 0);
  }

  // Starts over and carries on until `after` bytes have been written to that file. The exit status.
  int resume_and_cut(const Scenario& scenario, const std::string& file, std::size_t after,
                     std::size_t unit) {
    const std::string cut = fmt::format("CUT_FILE={} CUT_AFTER={} CUT_UNIT={} LD_PRELOAD={}", file,
                                        after, unit, LATCHKEY_CUT_WRITES);
    return run_in(dir_,
                  fmt::format("{} cp start/* . && {} cryptsetup reencrypt --resume-only $Q {}",
                              options(), cut, scenario.resume));
  }

  test::OpenedVolume open(const Scenario& scenario) {
    keyslots::VolumeSource source{test::device_of(dir_ / scenario.data), nullptr};
    if (*scenario.header != '\0') source.header = test::device_of(dir_ / scenario.header);
    return test::open_volume(std::move(source), ring_of(passphrase("secret")), {}, true);
  }

  void expect_plain(test::OpenedVolume& volume) {
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    ASSERT_GE(volume.plain->size_bytes(), plain_.size());
    test::ByteVector bytes(plain_.size());
    ASSERT_TRUE(volume.plain->read(0, bytes).ok());
    EXPECT_TRUE(test::same_bytes(bytes, plain_));
  }

  test::TempDir dir_;
  test::ByteVector plain_;
};

class EveryCut : public Luks2Reencrypt, public testing::WithParamInterface<Scenario> {};

TEST_P(EveryCut, ShowsTheSameBytesReadOnly) {
  const Scenario& scenario = GetParam();
  ASSERT_NO_FATAL_FAILURE(prepare(scenario));
  {
    SCOPED_TRACE("initialised, nothing done");
    ASSERT_EQ(run_in(dir_, "cp start/* ."), 0);
    auto volume = open(scenario);
    ASSERT_NO_FATAL_FAILURE(expect_plain(volume));
    EXPECT_THAT(volume.header->facts().state, testing::StartsWith(scenario.mode));
    EXPECT_THAT(volume.header->facts().state, testing::HasSubstr(scenario.direction));
    EXPECT_FALSE(volume.plain->writable());
    EXPECT_FALSE(volume.read_only_reason.empty());
  }
  // A step that does not divide the hot zone, so that the cuts move through it.
  constexpr std::size_t kStep = std::size_t{91} * 4096;
  int cuts = 0;
  int inside_a_step = 0;
  for (std::size_t after = 4096;; after += kStep) {
    SCOPED_TRACE(fmt::format("cut after {} bytes", after));
    const int status = resume_and_cut(scenario, scenario.data, after, 4096);
    if (status == 0) break;
    ASSERT_EQ(status, kCutStatus) << log_of(dir_);
    ++cuts;
    auto volume = open(scenario);
    ASSERT_NO_FATAL_FAILURE(expect_plain(volume));
    EXPECT_FALSE(volume.plain->writable());
    const auto& state = volume.header->facts().state;
    if (state.find("inside a step") != std::string::npos) ++inside_a_step;
  }
  EXPECT_GE(cuts, 5);
  EXPECT_GE(inside_a_step, 2);
}

class EveryHeaderCut : public Luks2Reencrypt, public testing::WithParamInterface<Scenario> {};

// The header's own writes: torn copies, and steps that are on record but have not begun.
TEST_P(EveryHeaderCut, ShowsTheSameBytes) {
  const Scenario& scenario = GetParam();
  ASSERT_NO_FATAL_FAILURE(prepare(scenario));
  int cuts = 0;
  for (std::size_t after = 512; cuts < 24; after += 11 * 1024 + 512) {
    SCOPED_TRACE(fmt::format("cut after {} bytes", after));
    const int status = resume_and_cut(scenario, scenario.header, after, 512);
    if (status == 0) break;
    ASSERT_EQ(status, kCutStatus) << log_of(dir_);
    ++cuts;
    auto volume = open(scenario);
    ASSERT_NO_FATAL_FAILURE(expect_plain(volume));
  }
  EXPECT_GT(cuts, 5);
}

std::vector<Scenario> detached_ones() {
  std::vector<Scenario> some;
  for (const Scenario& scenario : kScenarios) {
    if (*scenario.header != '\0') some.push_back(scenario);
  }
  return some;
}

std::string name_of(const testing::TestParamInfo<Scenario>& test) {
  return test.param.name;
}

INSTANTIATE_TEST_SUITE_P(, EveryCut, testing::ValuesIn(kScenarios), name_of);
INSTANTIATE_TEST_SUITE_P(, EveryHeaderCut, testing::ValuesIn(detached_ones()), name_of);

const Scenario kUnprotected{
    "EncryptNone",
    "cp plain a && truncate -s 16M h && cryptsetup reencrypt --encrypt --init-only $Q --header h "
    "--resilience none a",
    "--header h --hotzone-size 1M a",
    "a",
    "h",
    "encryption",
    "forward"};

// Without protection the header is not told of a step before it is over: what looks clean may not
// be.
TEST_F(Luks2Reencrypt, WithoutProtectionIsRefused) {
  ASSERT_NO_FATAL_FAILURE(prepare(kUnprotected));
  ASSERT_EQ(resume_and_cut(kUnprotected, "a", 3 * kMiB + 4096, 4096), kCutStatus) << log_of(dir_);
  const auto volume = open(kUnprotected);
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_EQ(volume.error->code(), engine::ErrorCode::kNotSupported);
  EXPECT_THAT(volume.message(), testing::HasSubstr("without protection"));
}

// One thing changed in a header that was caught inside a step, with its checksums put right.
class TamperedReencryption : public Luks2Reencrypt {
 protected:
  void cut_inside_a_step(const Scenario& scenario) {
    ASSERT_NO_FATAL_FAILURE(prepare(scenario));
    ASSERT_EQ(resume_and_cut(scenario, "a", 2 * kMiB + 65536, 4096), kCutStatus) << log_of(dir_);
    header_ = test::bytes_of_file(dir_ / "h");
  }

  test::OpenedVolume open_with(const std::string& from, const std::string& to) {
    test::ByteVector header = header_;
    for (const std::size_t copy : {std::size_t{0}, test::kLuks2CopyBytes}) {
      constexpr std::size_t kBinary = 4096;
      const auto area =
          engine::MutableBytes(header).subspan(copy + kBinary, test::kLuks2CopyBytes - kBinary);
      std::string json(engine::text_field(area, 0, area.size()));
      const std::size_t at = json.find(from);
      EXPECT_NE(at, std::string::npos) << from << " in " << json;
      if (at != std::string::npos) json.replace(at, from.size(), to);
      std::fill(area.begin(), area.end(), std::byte{0});
      test::put_text(header, copy + kBinary, json);
      test::seal_luks2_copy(header, copy);
    }
    return test::open_volume({test::device_of(dir_ / "a"), test::device_of(std::move(header))},
                             ring_of(passphrase("secret")));
  }

  void expect_refused(const std::string& from, const std::string& to, const char* message) {
    SCOPED_TRACE(from + " -> " + to);
    const auto volume = open_with(from, to);
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_THAT(volume.message(), testing::HasSubstr(message));
  }

  test::ByteVector header_;
};

TEST_F(TamperedReencryption, IsRefused) {
  ASSERT_NO_FATAL_FAILURE(cut_inside_a_step(kScenarios[4]));
  auto untouched = open_with("\"direction\":\"forward\"", "\"direction\":\"forward\"");
  ASSERT_NO_FATAL_FAILURE(expect_plain(untouched));

  // The record: what it says was signed with both keys.
  constexpr const char* kRecord = "does not agree with the keys";
  expect_refused("\"direction\":\"forward\"", "\"direction\":\"backward\"", kRecord);
  expect_refused("\"hash\":\"sha256\",\"sector_size\":4096",
                 "\"hash\":\"sha1\",\"sector_size\":4096", kRecord);
  expect_refused("\"sector_size\":4096}", "\"sector_size\":2048}", kRecord);
  expect_refused("online-reencrypt-v2", "online-reencrypt-v3", kRecord);
  expect_refused("\"mode\":\"reencrypt\"", "\"mode\":\"encrypt\"", "with segments of type");
  expect_refused("\"mode\":\"reencrypt\"", "\"mode\":\"guess\"", "mode 'guess'");
  expect_refused("\"direction\":\"forward\"", "\"direction\":\"up\"", "direction 'up'");
  expect_refused("\"type\":\"checksum\"", "\"type\":\"none\"", "without protection");
  expect_refused("\"type\":\"checksum\"", "\"type\":\"prayer\"", "protection 'prayer'");
  expect_refused("\"type\":\"reencrypt\"", "\"type\":\"reencrypted\"", "key slot or its backup");
  expect_refused("backup-final", "backup-finale", "its backup segments are missing");

  // The active segments are not signed: each has to be where the old or the new volume has it.
  constexpr const char* kNeither = "belongs neither to the old nor to the new volume";
  expect_refused("\"iv_tweak\":\"4096\"", "\"iv_tweak\":\"4097\"", kNeither);
  expect_refused("\"offset\":\"2097152\"", "\"offset\":\"2101248\"", kNeither);
  expect_refused("\"size\":\"1048576\"", "\"size\":\"1052672\"", kNeither);
  expect_refused("{\"type\":\"crypt\",\"offset\":\"0\",\"size\":\"2097152\"",
                 "{\"type\":\"linear\",\"offset\":\"0\",\"size\":\"2097152\"", kNeither);
  expect_refused("\"flags\":[\"in-reencryption\"]", "\"flags\":[]",
                 "is of both the old and the new key");
}

TEST_F(TamperedReencryption, AnotherProtectionThanTheRecorded) {
  ASSERT_NO_FATAL_FAILURE(cut_inside_a_step(kScenarios[5]));
  expect_refused("\"type\":\"journal\"", "\"type\":\"datashift\",\"shift_size\":\"0\"",
                 "does not agree with the keys");
}

// The unlocked volume of the first scenario once it is finished has nothing special about it.
TEST_F(Luks2Reencrypt, FinishedIsAnOrdinaryVolume) {
  const Scenario& scenario = kScenarios[0];
  ASSERT_NO_FATAL_FAILURE(prepare(scenario));
  ASSERT_EQ(resume_and_cut(scenario, "a", 1U << 30, 4096), 0) << log_of(dir_);
  auto volume = open(scenario);
  ASSERT_NO_FATAL_FAILURE(expect_plain(volume));
  EXPECT_EQ(volume.header->facts().state, "");
  EXPECT_EQ(volume.read_only_reason, "");
}

}  // namespace
}  // namespace latchkey
