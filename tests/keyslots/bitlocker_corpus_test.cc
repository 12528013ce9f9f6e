// BitLocker volumes made by Windows, with the digests of their plain views. The folder is named by
// LATCHKEY_CORPUS; expected.tsv in it lists files, secrets and what to expect.
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "keyslots/digest.h"
#include "tests/keyslots/corpus_rows.h"
#include "tests/keyslots/volume_fixture.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using engine::SecretBytes;
using keyslots::SecretKind;

using Row = test::CorpusRow;

std::filesystem::path corpus() {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  return folder == nullptr ? "" : folder;
}

keyslots::Secret text_secret(SecretKind kind, const std::string& text) {
  return {kind, SecretBytes::copy_of(engine::as_bytes(text)), "secret '" + text + "'"};
}

// The key is the last 32 bytes of every BEK file: the reader of those files is tested elsewhere.
keyslots::Secret bek_secret(const std::filesystem::path& path) {
  const auto bytes = test::read_file(path);
  EXPECT_GE(bytes.size(), 32U);
  return {SecretKind::kExternalKey, SecretBytes::copy_of(std::span(bytes).last(32)),
          "key file '" + path.filename().string() + "'", path.stem().string()};
}

keyslots::KeyRing ring_for(const Row& row) {
  if (row.kind == "passphrase") return test::ring_of(test::passphrase(row.secret));
  if (row.kind == "recovery") {
    return test::ring_of(text_secret(SecretKind::kRecoveryPassword, row.secret));
  }
  if (row.kind == "bek") return test::ring_of(bek_secret(corpus() / row.secret));
  EXPECT_EQ(row.kind, "none");
  return {};
}

void expect_row(const Row& row) {
  SCOPED_TRACE(row.file + " by " + row.kind);
  auto volume = test::open_volume({test::device_of(corpus() / row.file), nullptr}, ring_for(row));
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  EXPECT_EQ(volume.header->facts().format, "BitLocker");
  EXPECT_EQ(std::to_string(volume.plain->size_bytes()), row.bytes);
  if (row.expect == "open") {
    EXPECT_EQ(test::sha256_of(*volume.plain), row.digest);
  } else {
    EXPECT_EQ(row.expect, "unlock");
  }
}

class BitlockerCorpus : public testing::Test {
 protected:
  void SetUp() override {
    if (corpus().empty() || !std::filesystem::is_directory(corpus() / "bitlocker")) {
      GTEST_SKIP() << "LATCHKEY_CORPUS does not name an unpacked corpus";
    }
  }
  static test::OpenedVolume open(const std::string& name, const keyslots::KeyRing& ring,
                                 bool writable = false) {
    return test::open_volume({test::device_of(corpus() / "bitlocker" / name), nullptr}, ring, {},
                             writable);
  }
};

TEST_F(BitlockerCorpus, EveryRow) {
  const auto rows = test::corpus_rows(corpus(), "bitlocker/");
  ASSERT_FALSE(rows.empty());
  for (const Row& row : rows) expect_row(row);
}

TEST_F(BitlockerCorpus, AWrongKeyIsAWrongKey) {
  auto volume = open("aes-xts-128.img", test::ring_of(test::passphrase("not anaconda")));
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_EQ(volume.error->code(), ErrorCode::kWrongKey);
  EXPECT_EQ(volume.message(), "no key fits: tried passphrase 'not anaconda' on protector 0");
  EXPECT_THAT(volume.error->hint(), testing::HasSubstr("protectors"));
}

TEST_F(BitlockerCorpus, NothingGivenNamesWhatFits) {
  auto volume = open("aes-xts-128-startup-key.img", {});
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_EQ(volume.error->code(), ErrorCode::kKeyNeeded);
  EXPECT_EQ(volume.message(), "a key is needed: protectors 0, 1, 2 can be opened");
  EXPECT_THAT(volume.error->hint(),
              testing::HasSubstr("protector 2: file 4381F759-C4F8-4DE0-BB61-FC33A831BDA5.BEK"));
}

// Groups apart or not; the second of two, which several tools miss; a wrong one in front of it.
TEST_F(BitlockerCorpus, RecoveryDigitsFindTheirProtector) {
  const auto digits = [](const char* text) {
    return text_secret(SecretKind::kRecoveryPassword, text);
  };
  auto volume =
      open("aes-xts-128-two-recovery.img",
           test::ring_of(digits("042647-302313-590458-071500-554323-116567-412181-516978"),
                         digits("297693343387338492284526405482424886634931555093")));
  ASSERT_FALSE(volume.error.has_value()) << volume.message();
  EXPECT_EQ(volume.opened_by.substr(0, 11), "protector 2");
}

TEST_F(BitlockerCorpus, AMistypedRecoveryPasswordSaysWhere) {
  auto volume =
      open("aes-xts-128.img",
           test::ring_of(text_secret(SecretKind::kRecoveryPassword,
                                     "235818-357951-253979-013356-241120-245575-342914-591910")));
  ASSERT_TRUE(volume.error.has_value());
  EXPECT_EQ(volume.error->code(), ErrorCode::kUsage);
  EXPECT_THAT(volume.message(), testing::HasSubstr("group 4"));
}

TEST_F(BitlockerCorpus, ProtectorsAreDescribed) {
  auto volume =
      test::probe({test::device_of(corpus() / "bitlocker/aes-xts-128-startup-key.img"), nullptr});
  ASSERT_NE(volume.header, nullptr) << volume.message();
  const auto protectors = volume.header->protectors();
  ASSERT_EQ(protectors.size(), 5U);
  EXPECT_EQ(protectors[0].description, "passphrase");
  EXPECT_EQ(protectors[1].description, "recovery password");
  EXPECT_EQ(protectors[1].id, "294BC732-F82F-404C-A2CE-D1094ED59506");
  EXPECT_EQ(protectors[1].matches, "recovery key ID 294BC732-F82F-404C-A2CE-D1094ED59506");
  EXPECT_EQ(protectors[2].description, "external key \"ExternalKey\"");
  EXPECT_EQ(protectors[2].created, "2020-09-15 07:24:03");
  EXPECT_FALSE(protectors[3].on_disk);
  EXPECT_FALSE(protectors[4].on_disk);
  const auto& facts = volume.header->facts();
  EXPECT_EQ(facts.uuid, "5a95db04-6ebc-4ba9-99a3-15a87a3d07b2");
  EXPECT_EQ(facts.label, "DESKTOP-LG39GVP E: 15/09/2020");
  EXPECT_EQ(facts.cipher, "aes-xts-plain64 (XTS-AES 128)");
  EXPECT_EQ(facts.state, "fully encrypted");
  EXPECT_EQ(facts.payload_bytes, 104857600U);
}

// One key opened gives the recovery passwords of all protectors that keep one.
TEST_F(BitlockerCorpus, StoredRecoveryPasswords) {
  auto volume =
      test::probe({test::device_of(corpus() / "bitlocker/aes-xts-128-two-recovery.img"), nullptr});
  ASSERT_NE(volume.header, nullptr) << volume.message();
  auto opened = keyslots::find_keys(
      *volume.header,
      test::ring_of(text_secret(SecretKind::kRecoveryPassword,
                                "297693-343387-338492-284526-405482-424886-634931-555093")),
      {});
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  auto stored = volume.header->stored_secrets(opened->keys);
  ASSERT_TRUE(stored.ok()) << stored.error().message();
  std::vector<std::string> digits;
  for (const auto& one : *stored) {
    digits.emplace_back(reinterpret_cast<const char*>(one.secret.bytes.data()),
                        one.secret.bytes.size());
  }
  EXPECT_THAT(digits,
              testing::ElementsAre("478401-067859-043868-000935-121330-337425-718509-484979",
                                   "297693-343387-338492-284526-405482-424886-634931-555093"));
}

// A VMK and an FVEK as such; the latter also in the form that memory forensics gives it.
TEST_F(BitlockerCorpus, RawKeys) {
  for (const char* name : {"aes-xts-128.img", "aes-cbc-128.img", "aes-cbc-elephant-128.img",
                           "aes-xts-256.img", "aes-cbc-128-4k.img", "togo-aes-cbc-128.img"}) {
    SCOPED_TRACE(name);
    auto volume = test::probe({test::device_of(corpus() / "bitlocker" / name), nullptr});
    ASSERT_NE(volume.header, nullptr) << volume.message();
    auto opened =
        keyslots::find_keys(*volume.header, test::ring_of(test::passphrase("anaconda")), {});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    const auto raw = [](engine::Bytes bytes, const char* label) {
      return keyslots::Secret{SecretKind::kRawKey, SecretBytes::copy_of(bytes), label};
    };
    auto by_vmk = open(name, test::ring_of(raw(opened->keys[0].span(), "the VMK")));
    ASSERT_FALSE(by_vmk.error.has_value()) << by_vmk.message();
    EXPECT_EQ(by_vmk.opened_by, "raw VMK with the VMK");

    std::vector<SecretBytes> keys;
    keys.push_back(SecretBytes::copy_of(opened->keys[0].span()));
    auto unlocked = volume.header->layout(std::move(keys));
    ASSERT_TRUE(unlocked.ok());
    const SecretBytes& fvek = unlocked->keys[0];
    auto by_fvek = open(name, test::ring_of(raw(fvek.span(), "the FVEK")));
    ASSERT_FALSE(by_fvek.error.has_value()) << by_fvek.message();
    EXPECT_EQ(by_fvek.opened_by, "raw FVEK with the FVEK");
    test::ByteVector first(512);
    test::ByteVector expected(512);
    EXPECT_TRUE(by_fvek.plain->read(0, first).ok());
    EXPECT_TRUE(by_vmk.plain->read(0, expected).ok());
    EXPECT_EQ(first, expected);

    SecretBytes wrong = SecretBytes::copy_of(fvek.span());
    wrong.data()[0] ^= std::byte{1};
    auto refused = open(name, test::ring_of(raw(wrong.span(), "another")));
    ASSERT_TRUE(refused.error.has_value());
    EXPECT_EQ(refused.error->code(), ErrorCode::kWrongKey);
  }
}

TEST_F(BitlockerCorpus, WhatMustNotBeWrittenIsNot) {
  const std::string digits = "517506-503998-044583-576191-587004-635965-501270-087802";
  auto vista = open("vista-aes-cbc-elephant-128.img",
                    test::ring_of(text_secret(SecretKind::kRecoveryPassword, digits)));
  EXPECT_THAT(vista.read_only_reason, testing::HasSubstr("Vista"));
  EXPECT_TRUE(test::has_notice(vista.notices, "the end is missing"));
  auto partial = open("partially-encrypted-aes-cbc-128.img", {});
  EXPECT_THAT(partial.read_only_reason, testing::HasSubstr("conversion"));
  auto whole = open("aes-xts-128.img", test::ring_of(test::passphrase("anaconda")));
  EXPECT_EQ(whole.read_only_reason, "");
}

// A boot sector full of noise: the metadata is found by its signature.
TEST_F(BitlockerCorpus, ADamagedBootSectorIsGotAround) {
  auto bytes = test::bytes_of_file(corpus() / "bitlocker/aes-xts-128.img");
  std::fill_n(bytes.begin(), 512, std::byte{0x5a});
  auto volume = test::open_volume({test::device_of(std::move(bytes)), nullptr},
                                  test::ring_of(test::passphrase("anaconda")));
  ASSERT_NE(volume.plain, nullptr) << volume.message();
  EXPECT_TRUE(test::has_notice(volume.notices, "found by searching"));
  EXPECT_NE(volume.read_only_reason, "");
  EXPECT_EQ(test::sha256_of(*volume.plain),
            "674e3a976927fd62f3fc26df2c695cac75b8d364e3b45393717efa971f16db0f");
}

}  // namespace
}  // namespace latchkey
