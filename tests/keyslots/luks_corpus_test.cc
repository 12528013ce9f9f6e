// LUKS volumes made by others, with the digests of their plaintexts. The folder is named by
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

using Row = test::CorpusRow;

void expect_row(const std::filesystem::path& folder, const Row& row) {
  SCOPED_TRACE(row.file);
  keyslots::Secret secret = row.kind == "keyfile"
                                ? test::key_file(test::read_file(folder / row.secret))
                                : test::passphrase(row.secret.empty() ? "any" : row.secret);
  auto volume = test::open_volume({test::device_of(folder / row.file), nullptr},
                                  test::ring_of(std::move(secret)));
  if (row.expect == "open" && row.file.find("serpent") != std::string::npos) {
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kNotSupported);
    EXPECT_THAT(volume.message(), testing::HasSubstr("serpent-xts-plain64"));
  } else if (row.expect == "open") {
    ASSERT_NE(volume.plain, nullptr) << volume.message();
    EXPECT_EQ(std::to_string(volume.plain->size_bytes()), row.bytes);
    EXPECT_EQ(test::sha256_of(*volume.plain), row.digest);
  } else if (row.expect == "unlock") {
    ASSERT_FALSE(volume.error.has_value()) << volume.message();
    EXPECT_TRUE(volume.unlocked.has_value());
    EXPECT_TRUE(test::has_notice(volume.notices, "only the header is here"));
  } else if (row.expect == "wrong-key") {
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.error->code(), ErrorCode::kWrongKey) << volume.message();
  } else if (row.expect == "refuse") {
    ASSERT_TRUE(volume.error.has_value());
    EXPECT_EQ(volume.header, nullptr);
    EXPECT_EQ(volume.error->code(), ErrorCode::kDamaged) << volume.message();
  } else {
    EXPECT_EQ(row.expect, "info");
    ASSERT_NE(volume.header, nullptr) << volume.message();
    EXPECT_EQ(volume.header->facts().unusable, "");
  }
}

TEST(LuksCorpus, EveryRow) {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  if (folder == nullptr || !std::filesystem::is_directory(std::filesystem::path(folder) / "luks")) {
    GTEST_SKIP() << "LATCHKEY_CORPUS does not name an unpacked corpus";
  }
  const auto rows = test::corpus_rows(folder, "luks/");
  ASSERT_FALSE(rows.empty());
  for (const Row& row : rows) expect_row(folder, row);
}

// The eight passphrases of one volume, each on its own slot.
TEST(LuksCorpus, EightSlots) {
  const char* folder = std::getenv("LATCHKEY_CORPUS");
  const auto image =
      std::filesystem::path(folder == nullptr ? "" : folder) / "luks/conversion-l2_512b_full.img";
  if (!std::filesystem::exists(image)) GTEST_SKIP() << "LATCHKEY_CORPUS is not set";
  const char* words[] = {"aaablabl", "hhhblabl", "cccblabl", "dddblabl",
                         "eeeblabl", "fffblabl", "gggblabl", "bbbblabl"};
  std::vector<std::string> slots;
  for (const char* word : words) {
    auto volume =
        test::open_volume({test::device_of(image), nullptr}, test::ring_of(test::passphrase(word)));
    ASSERT_FALSE(volume.error.has_value()) << volume.message();
    slots.push_back(volume.opened_by.substr(0, volume.opened_by.find(" with")));
  }
  EXPECT_THAT(slots,
              testing::UnorderedElementsAre("keyslot 0", "keyslot 1", "keyslot 2", "keyslot 3",
                                            "keyslot 4", "keyslot 5", "keyslot 6", "keyslot 7"));
}

}  // namespace
}  // namespace latchkey
